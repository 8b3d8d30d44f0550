package skerry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

func TestDigestOfASet(t *testing.T) {
	digest := func(change func(*skerry.Set)) uint64 {
		s := &skerry.Set{
			Node:      &skerry.Node{Name: "n", Address: "10.0.0.1"},
			Instances: []*skerry.Instance{{ID: "a", Service: "web"}, {ID: "b", Service: "web", Tags: []string{"x"}}},
			Checks:    []*skerry.Check{{ID: "c", Status: skerry.Passing}, {ID: "d", ServiceID: "a", Status: skerry.Warning}},
		}
		change(s)
		return s.Digest()
	}
	was := digest(func(*skerry.Set) {})
	for name, change := range map[string]func(*skerry.Set){
		"another order": func(s *skerry.Set) { slices.Reverse(s.Instances); slices.Reverse(s.Checks) },
		"an output":     func(s *skerry.Set) { s.Checks[0].Output, s.Checks[0].Since = "took 3 ms", time.Unix(1, 0) },
		"a stamp":       func(s *skerry.Set) { s.Instances[0].Stamp = skerry.Stamp{Created: 1, Modified: 2} },
	} {
		if digest(change) != was {
			t.Errorf("%s changes the digest", name)
		}
	}
	for name, change := range map[string]func(*skerry.Set){
		"a node's address": func(s *skerry.Set) { s.Node.Address = "10.0.0.2" },
		"a tag":            func(s *skerry.Set) { s.Instances[1].Tags = nil },
		"a state":          func(s *skerry.Set) { s.Checks[1].Status = skerry.Critical },
		"a check less":     func(s *skerry.Set) { s.Checks = s.Checks[:1] },
		"a service's name": func(s *skerry.Set) { s.Instances[0].Service = "db" },
	} {
		if digest(change) == was {
			t.Errorf("%s does not change the digest", name)
		}
	}
}
