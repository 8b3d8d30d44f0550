// Package decidedtest has helpers for the tests of the packages below decided.
package decidedtest

import (
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

// WantDamage fails the test unless err is the error about the damaged record of a key.
// op names the operation that returned err.
func WantDamage(t testing.TB, op string, err error, key string) {
	t.Helper()
	if err == nil || skerry.KindOf(err) != skerry.Internal || !strings.Contains(err.Error(), `"`+key+`" is damaged`) {
		t.Errorf("%s of a damaged record: %v", op, err)
	}
}

// Announce puts a node with one instance of "web" and one check of that instance into
// the catalog behind a. The instance and the node have the same metadata.
func Announce(t testing.TB, a skerry.Announcer, node, ip string, tags []string, meta map[string]string, status skerry.Health) {
	t.Helper()
	_, err := a.Announce(skerry.Announcement{
		Owner: skerry.OwnerID("agent/" + node), Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: 1},
		Set: &skerry.Set{
			Node:      &skerry.Node{Name: node, Address: ip, Meta: meta},
			Instances: []*skerry.Instance{{ID: "web-" + node, Service: "web", Tags: tags, Meta: meta, Port: 80}},
			Checks:    []*skerry.Check{{ID: "c-" + node, Status: status, ServiceID: "web-" + node, ServiceName: "web"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
