// Package outbox carries the changes of owners to a catalog.
package outbox

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
)

// Local is a [skerry.Carrier] to a catalog in the same process. A change is in the catalog
// when Changed returns, so that a registration is visible once it is answered.
type Local struct {
	to  skerry.Announcer
	log *slog.Logger
}

// NewLocal returns a carrier to a catalog.
func NewLocal(to skerry.Announcer, log *slog.Logger) *Local { return &Local{to, log} }

// Carry implements [skerry.Carrier].
func (l *Local) Carry(id skerry.OwnerID, kind skerry.OwnerKind, ttl time.Duration, from skerry.Source) skerry.Outbox {
	b := &box{Local: l, about: skerry.Announcement{Owner: id, Kind: kind, TTL: ttl}, from: from}
	b.whole()
	return b
}

// box is the outbox of one owner.
type box struct {
	*Local
	about skerry.Announcement // without a set or a delta
	from  skerry.Source
	again atomic.Bool // the whole set is about to be announced

	mu     sync.Mutex
	newest skerry.Version // that was announced
}

// Changed implements [skerry.Outbox].
func (b *box) Changed(v, base skerry.Version, d skerry.Delta, digest uint64) {
	a := b.about
	a.Version, a.Base, a.Delta, a.Digest = v, base, &d, digest
	if b.announce(a) == skerry.Resend && b.again.CompareAndSwap(false, true) {
		// The owner may hold its lock, which Whole takes.
		go func() {
			b.again.Store(false)
			b.whole()
		}()
	}
}

// whole announces the whole set.
func (b *box) whole() {
	a := b.about
	a.Version, a.Digest, a.Set = b.from.Whole()
	b.announce(a)
}

func (b *box) announce(a skerry.Announcement) skerry.Outcome {
	b.mu.Lock()
	if b.newest.Less(a.Version) {
		b.newest = a.Version
	}
	b.mu.Unlock()
	outcome, err := b.to.Announce(a)
	b.mu.Lock()
	passed := a.Version.Less(b.newest) // by a change that was made while the whole set was taken
	b.mu.Unlock()
	if err != nil || outcome == skerry.Stale && !passed {
		b.log.Error("the catalog refused a change of an owner's set", "owner", a.Owner, "version", a.Version, "outcome", outcome, "error", err)
	}
	return outcome
}
