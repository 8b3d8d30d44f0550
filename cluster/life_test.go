package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// A server whose clock went back starts with a lesser life than its last. What it says
// later counts nevertheless, and others find what they missed of it at once.
func TestAServerWhoseClockWentBack(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c")
	for i := range 3 {
		f.attach("b", skerry.OwnerID(fmt.Sprint("old-", i)), 1)
	}
	f.pass(time.Second)
	f.servers["b"] = cluster.New(cluster.Config{
		Self: "b", Life: cluster.Life(f.now.Add(-time.Hour).UnixMilli()), Members: []cluster.ServerID{"a", "b", "c"}, Rand: rand.New(rand.NewPCG(1, 1)),
	}, f.now)
	f.pass(4 * time.Second)
	for i := range 5 {
		id := skerry.OwnerID(fmt.Sprint("new-", i))
		f.part("b")
		f.attach("b", id, 1)
		f.pass(200 * time.Millisecond)
		f.part()
		f.pass(1500 * time.Millisecond)
		for _, at := range []cluster.ServerID{"a", "c"} {
			if !f.shows(at, id) {
				t.Errorf("%s misses %s", at, id)
			}
		}
	}
}
