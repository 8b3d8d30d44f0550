// Package catalogtest is the promises of a catalog, as two suites of tests. [RunTable] has
// the promises of a table: they hold as soon as a call has returned. [RunEventually] has
// the promises of any number of catalogs that owners reach through outboxes: they hold once
// all is quiet.
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
	// Tick expires the owners that fell silent, and returns them.
	Tick() []skerry.OwnerID
	// Held returns how many owners the guard holds.
	Held() int
	// Release gives up those of the owners that the guard holds for which among is true,
	// and returns them.
	Release(among func(skerry.OwnerID) bool) []skerry.OwnerID
	// Index returns the last index issued.
	Index() uint64
}

// Open makes an empty catalog. It must use the clock in cfg, and end with t.
type Open func(t *testing.T, cfg catalog.Config) Catalog

// RunTable tests the promises of a table.
func RunTable(t *testing.T, open Open) {
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
