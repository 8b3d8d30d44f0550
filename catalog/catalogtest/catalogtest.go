// Package catalogtest is what any catalog promises, as a suite of tests: the one
// in memory and the one behind a bus must pass it alike.
package catalogtest

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// Catalog is what the suite runs against.
type Catalog interface {
	skerry.Catalog
	skerry.Announcer
	// Tick expires who fell silent, and returns them.
	Tick() []skerry.OwnerID
	// Held returns how many owners the guard holds.
	Held() int
	// Release gives up the owners that the guard holds, and returns them.
	Release() []skerry.OwnerID
	// Index returns the last index issued.
	Index() uint64
}

// Open makes an empty catalog. It must use the clock in cfg, and end with t.
type Open func(t *testing.T, cfg catalog.Config) Catalog

// Run tests every promise.
func Run(t *testing.T, open Open) {
	for _, group := range []struct {
		name   string
		proofs []proof
	}{
		{"announce", announceProofs},
		{"invalid", invalidProofs},
		{"watch", watchProofs},
		{"index", indexProofs},
		{"empty", causeProofs},
		{"shared-node", sharedProofs},
		{"read", readProofs},
		{"lease", leaseProofs},
		{"guard", guardProofs},
		{"names", nameProofs},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, p := range group.proofs {
				t.Run(p.name, func(t *testing.T) { p.test(newWorld(t, open, p.cfg)) })
			}
		})
	}
	t.Run("converge", func(t *testing.T) { converge(t, open) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, open) })
}

// proof is one promise.
type proof struct {
	name string
	cfg  catalog.Config
	test func(w *world)
}
