package registry_test

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/catalog/catalogtest"
)

// alone is the catalog of a server without others: the owners are judged by its registry.
type alone struct {
	*catalog.Table
	*server
}

func (a alone) Announce(x skerry.Announcement) (skerry.Outcome, error) { return a.server.Announce(x) }
func (a alone) Beat(id skerry.OwnerID, digest uint64) skerry.Outcome {
	return a.server.Beat(id, digest)
}
func (a alone) Withdraw(id skerry.OwnerID, v skerry.Version) bool      { return a.server.Withdraw(id, v) }
func (a alone) Restore(x skerry.Announcement) error                    { return a.server.Restore(x) }
func (a alone) Held() int                                              { return a.server.Held() }
func (a alone) Known(id skerry.OwnerID) (skerry.Version, uint64, bool) { return a.server.Known(id) }

func (a alone) Tick()                   { a.Table.Tick() }
func (a alone) Judge() []skerry.OwnerID { return a.server.Tick() }

func (a alone) Release(among func(skerry.OwnerID) bool) []skerry.OwnerID {
	lost, _ := a.server.Release(among)
	return lost
}

func TestSilence(t *testing.T) {
	catalogtest.RunJudged(t, func(_ *testing.T, cfg catalog.Config) catalogtest.Judged {
		s := newServer("s1", 1, cfg)
		return alone{s.table, s}
	})
}
