// Package catalogtest is the promises of a catalog, as three suites of tests. [RunTable] has
// the promises of a table: they hold as soon as a call has returned. [RunJudged] has those
// of a catalog whose silent owners are judged. [RunEventually] has the promises of any number
// of catalogs that owners reach through outboxes: they hold once all is quiet.
package catalogtest

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// Catalog is what RunTable runs against.
type Catalog interface {
	skerry.Catalog
	skerry.Announcer
	// Tick lets time pass.
	Tick()
	// Index returns the last index issued.
	Index() uint64
}

// Judged is what RunJudged runs against: a catalog with a server's part of the protocol, and
// no other server.
type Judged interface {
	Catalog
	// Judge expires the owners that fell silent, and returns them.
	Judge() []skerry.OwnerID
	// Held returns how many owners the guard holds.
	Held() int
	// Release gives up those of the owners that the guard holds for which among is true,
	// and returns them.
	Release(among func(skerry.OwnerID) bool) []skerry.OwnerID
}

// Open makes an empty catalog. It must use the clock in cfg, and end with t.
type Open func(t *testing.T, cfg catalog.Config) Catalog

// RunTable tests the promises of a table.
func RunTable(t *testing.T, open Open) {
	runProofs(t, open, []group{
		{"announce", announceProofs},
		{"invalid", invalidProofs},
		{"watch", watchProofs},
		{"index", indexProofs},
		{"empty", causeProofs},
		{"shared-node", sharedProofs},
		{"read", readProofs},
		{"names", nameProofs},
	})
	t.Run("converge", func(t *testing.T) { converge(t, open) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, open) })
}

// RunJudged tests the promises about silent owners.
func RunJudged(t *testing.T, open func(t *testing.T, cfg catalog.Config) Judged) {
	runProofs(t, func(t *testing.T, cfg catalog.Config) Catalog { return open(t, cfg) }, []group{{"lease", leaseProofs}, {"guard", guardProofs}})
}

func runProofs(t *testing.T, open Open, groups []group) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, p := range g.proofs {
				t.Run(p.name, func(t *testing.T) { p.test(newWorld(t, open, p.cfg)) })
			}
		})
	}
}

type group struct {
	name   string
	proofs []proof
}

// proof is one promise.
type proof struct {
	name string
	cfg  catalog.Config
	test func(w *world)
}
