package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/journal"
)

// leases are the sets of programs that have no agent. The catalog judges their
// silence; this part gives them versions and keeps them on disk, so that a
// restart of ours is no silence of theirs.
type leases struct {
	announcer skerry.Announcer
	limits    LeaseLimits
	epoch     uint64

	mu     sync.Mutex
	ledger *journal.Ledger
	sets   map[skerry.OwnerID]*leased
	seq    uint64
}

type leased struct {
	Owner skerry.OwnerID `json:"owner"`
	Set   *skerry.Set    `json:"set,omitempty"` // nil: gone
	TTL   time.Duration  `json:"ttl,omitempty"`
}

const (
	leaseKeeper = "lease"
	// leasePrefix keeps leases apart from other owners, whatever id a client chooses.
	leasePrefix = "lease/"
)

// LeaseLimits bound what programs without an agent may announce.
type LeaseLimits struct {
	MinTTL       time.Duration // default 1 s
	MaxTTL       time.Duration // default 24 h
	MaxOwners    int           // leases at once; 0: no limit. Leases restored from disk stay beyond it.
	MaxInstances int           // of one lease; 0: no limit
}

func (l LeaseLimits) withDefaults() LeaseLimits {
	if l.MinTTL == 0 {
		l.MinTTL = time.Second
	}
	if l.MaxTTL == 0 {
		l.MaxTTL = 24 * time.Hour
	}
	return l
}

// judge says what of a lease can never be allowed.
func (l LeaseLimits) judge(set *skerry.Set, ttl time.Duration) error {
	if ttl < l.MinTTL || ttl > l.MaxTTL {
		return skerry.Errorf(skerry.Invalid, "TTL: %v is not between %v and %v", ttl, l.MinTTL, l.MaxTTL)
	}
	if n := len(set.Instances); l.MaxInstances > 0 && n > l.MaxInstances {
		return skerry.Errorf(skerry.Invalid, "Instances: %d are more than lease.max_instances, %d; announce them under several owners", n, l.MaxInstances)
	}
	return nil
}

func newLeases(a skerry.Announcer, limits LeaseLimits) *leases {
	return &leases{announcer: a, limits: limits.withDefaults(), epoch: uint64(time.Now().UnixMilli()), sets: map[skerry.OwnerID]*leased{}}
}

// PutOwner implements [skerry.Leases].
func (l *leases) PutOwner(ctx context.Context, id skerry.OwnerID, set skerry.Set, ttl time.Duration) (uint64, bool, error) {
	if err := l.limits.judge(&set, ttl); err != nil {
		return 0, false, err
	}
	l.mu.Lock()
	if most := l.limits.MaxOwners; most > 0 && l.sets[id] == nil && len(l.sets) >= most {
		l.mu.Unlock()
		return 0, false, skerry.Errorf(skerry.Exhausted, "there are %d leases already, as many as lease.max_owners allows; withdraw one, or raise the limit", most)
	}
	if err := l.ledger.Broken(); err != nil {
		l.mu.Unlock()
		return 0, false, skerry.Errorf(skerry.Unavailable, "the lease cannot be written to disk now: %w", err)
	}
	outcome, err := l.announce(id, &set, ttl)
	if err != nil {
		l.mu.Unlock()
		return 0, false, err
	}
	old := l.sets[id]
	record := &leased{Owner: id, Set: &set, TTL: ttl}
	l.sets[id] = record
	var batch *journal.Batch
	changed := outcome == skerry.Applied
	if changed || old == nil || old.TTL != ttl {
		batch = l.ledger.Append(leaseKeeper, record)
	}
	l.mu.Unlock()
	if batch != nil {
		if err := batch.Wait(ctx); err != nil {
			return 0, false, skerry.Errorf(skerry.Unavailable, "the lease could not be written to disk: %w", err)
		}
	}
	digest, ok := l.announcer.Digest(leasePrefix + id)
	if !ok {
		return 0, false, skerry.Errorf(skerry.Unavailable, "the owner expired while it was being registered; try again")
	}
	return digest, changed, nil
}

// announce is called with mu held.
func (l *leases) announce(id skerry.OwnerID, set *skerry.Set, ttl time.Duration) (skerry.Outcome, error) {
	l.seq++
	return l.announcer.Announce(skerry.Announcement{
		Owner: leasePrefix + id, Kind: skerry.LeaseOwner, TTL: ttl, Set: set,
		Version: skerry.Version{Epoch: l.epoch, Seq: l.seq},
	})
}

// BeatOwner implements [skerry.Leases].
func (l *leases) BeatOwner(id skerry.OwnerID, digest uint64) skerry.Outcome {
	return l.announcer.Beat(leasePrefix+id, digest)
}

// DeleteOwner implements [skerry.Leases].
func (l *leases) DeleteOwner(ctx context.Context, id skerry.OwnerID) error {
	l.mu.Lock()
	if !l.announcer.Withdraw(leasePrefix + id) {
		l.mu.Unlock()
		return &skerry.Error{Kind: skerry.NotFound, Subject: "owner", ID: string(id), Message: fmt.Sprintf("no owner %q has a lease here", id)}
	}
	delete(l.sets, id)
	batch := l.ledger.Append(leaseKeeper, leased{Owner: id})
	l.mu.Unlock()
	if err := batch.Wait(ctx); err != nil {
		return skerry.Errorf(skerry.Unavailable, "the withdrawal could not be written to disk: %w", err)
	}
	return nil
}

// lost takes out of the journal what the catalog expired.
func (l *leases) lost(ids []skerry.OwnerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		bare, ok := strings.CutPrefix(string(id), leasePrefix)
		if ok && l.sets[skerry.OwnerID(bare)] != nil {
			delete(l.sets, skerry.OwnerID(bare))
			l.ledger.Append(leaseKeeper, leased{Owner: skerry.OwnerID(bare)})
		}
	}
}

// longest returns the longest TTL of what was replayed: nobody may expire before
// it has passed.
func (l *leases) longest() time.Duration {
	var d time.Duration
	for _, r := range l.sets {
		d = max(d, r.TTL)
	}
	return d
}

// start announces what was replayed, each with a whole TTL from now.
func (l *leases) start(ledger *journal.Ledger) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger = ledger
	for id, r := range l.sets {
		if _, err := l.announce(id, r.Set, r.TTL); err != nil {
			return fmt.Errorf("announce the restored owner %q: %w", id, err)
		}
	}
	return nil
}

// Replay implements [journal.Keeper].
func (l *leases) Replay(line []byte) error {
	var r leased
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	if r.Owner == "" {
		return fmt.Errorf("a lease record without owner")
	}
	if r.Set == nil {
		delete(l.sets, r.Owner)
		return nil
	}
	l.sets[r.Owner] = &r
	return nil
}

// Snapshot implements [journal.Keeper].
func (l *leases) Snapshot(write func(any) error) error {
	l.mu.Lock()
	records := make([]*leased, 0, len(l.sets))
	for _, r := range l.sets {
		records = append(records, r)
	}
	l.mu.Unlock()
	for _, r := range records {
		if err := write(r); err != nil {
			return err
		}
	}
	return nil
}
