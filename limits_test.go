package skerry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

func TestBounds(t *testing.T) {
	long, most := strings.Repeat("x", skerry.MaxName+1), strings.Repeat("x", skerry.MaxName)
	many := func(n int) (tags []string) {
		for i := range n {
			tags = append(tags, fmt.Sprint(i))
		}
		return tags
	}
	pairs := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint(i)] = "v"
		}
		return m
	}
	for want, v := range map[string]interface{ Bounds() error }{
		"Node":            &skerry.Node{Name: long},
		"Address":         &skerry.Node{Name: "n", Address: long},
		"Meta":            &skerry.Node{Name: "n", Meta: map[string]string{"a": long}},
		"TaggedAddresses": &skerry.Node{Name: "n", TaggedAddresses: pairs(100)},
		"Service":         &skerry.Instance{Service: long},
		"ID":              &skerry.Instance{ID: long},
		"Tags: ":          &skerry.Instance{Tags: []string{"a", long}},
		"Tags: 1025 are":  &skerry.Instance{Tags: many(1025)},
		"CheckID":         &skerry.Check{ID: long},
		"ServiceID":       &skerry.Check{ServiceID: long},
		"Notes":           &skerry.Check{Notes: strings.Repeat("x", skerry.MaxText+1)},
		"Output":          &skerry.Check{Output: strings.Repeat("x", skerry.MaxCheckOutput+1)},
		"Check: ":         &skerry.CheckDefinition{Args: many(40_000)},
		"Name":            &skerry.CheckDefinition{Name: long},
	} {
		err := v.Bounds()
		if err == nil || !strings.Contains(err.Error(), want) || skerry.KindOf(err) != skerry.Invalid || len(err.Error()) > 200 {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, v := range []interface{ Bounds() error }{
		&skerry.Node{Name: most, Address: most, Meta: pairs(skerry.MaxPairs)}, &skerry.Instance{ID: most, Service: most, Tags: many(skerry.MaxTags)},
		&skerry.Check{ID: most, Name: most}, &skerry.CheckDefinition{Args: many(1000)},
	} {
		if err := v.Bounds(); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}
