// Package lease keeps the sets of owners that have no agent: programs that announce
// themselves over the API and beat within a TTL. The catalog judges their silence; a
// [Keeper] gives their sets versions and keeps them in the journal, so that a restart of
// this process does not count as their silence.
package lease

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

// Keeper implements [skerry.Leases] and [journal.Keeper].
type Keeper struct {
	limits Limits
	epoch  uint64

	mu        sync.Mutex
	announcer skerry.Announcer
	ledger    *journal.Ledger
	sets      map[skerry.OwnerID]*leased
	seq       uint64
	shown     func(skerry.OwnerID) *skerry.Set // of the catalog, also of owners that were put elsewhere
}

type leased struct {
	Owner   skerry.OwnerID `json:"owner"`
	Set     *skerry.Set    `json:"set,omitempty"` // nil: gone
	TTL     time.Duration  `json:"ttl,omitempty"`
	Version skerry.Version `json:"version,omitzero"` // journals of earlier releases have none

	digest uint64
}

const (
	// KeeperName is the name of a [Keeper] in the journal.
	KeeperName = "lease"
	// prefix keeps the ids that clients choose apart from the ids of other owners.
	prefix = "lease/"
)

// Limits bounds the sets of a [Keeper].
type Limits struct {
	MinTTL       time.Duration // default 1 s
	MaxTTL       time.Duration // default 24 h
	MaxOwners    int           // leases at once; 0: no limit. Leases restored from disk stay beyond it.
	MaxInstances int           // of one lease; 0: no limit
}

func (l Limits) withDefaults() Limits {
	if l.MinTTL == 0 {
		l.MinTTL = time.Second
	}
	if l.MaxTTL == 0 {
		l.MaxTTL = 24 * time.Hour
	}
	return l
}

// judge returns an error if the limits forbid the set or its TTL.
func (l Limits) judge(set *skerry.Set, ttl time.Duration) error {
	if ttl < l.MinTTL || ttl > l.MaxTTL {
		return skerry.Errorf(skerry.Invalid, "TTL: %v is not between %v and %v", ttl, l.MinTTL, l.MaxTTL)
	}
	if n := len(set.Instances); l.MaxInstances > 0 && n > l.MaxInstances {
		return skerry.Errorf(skerry.Invalid, "Instances: %d are more than lease.max_instances, %d; announce them under several owners", n, l.MaxInstances)
	}
	return nil
}

// New returns a keeper that has no set yet: open the journal with it as the keeper named
// [KeeperName], then call Start.
func New(limits Limits) *Keeper {
	return &Keeper{limits: limits.withDefaults(), epoch: uint64(time.Now().UnixMilli()), sets: map[skerry.OwnerID]*leased{}}
}

// PutOwner implements [skerry.Leases].
func (k *Keeper) PutOwner(ctx context.Context, id skerry.OwnerID, set skerry.Set, ttl time.Duration) (uint64, bool, error) {
	if err := k.limits.judge(&set, ttl); err != nil {
		return 0, false, err
	}
	k.mu.Lock()
	if most := k.limits.MaxOwners; most > 0 && k.sets[id] == nil && len(k.sets) >= most {
		k.mu.Unlock()
		return 0, false, skerry.Errorf(skerry.Exhausted, "there are %d leases already, as many as lease.max_owners allows; withdraw one, or raise the limit", most)
	}
	if err := k.ledger.Broken(); err != nil {
		k.mu.Unlock()
		return 0, false, skerry.Errorf(skerry.Unavailable, "the lease cannot be written to disk now: %w", err)
	}
	record := &leased{Owner: id, Set: &set, TTL: ttl, digest: set.Digest()}
	old := k.sets[id]
	changed := old == nil || old.digest != record.digest
	if !changed && old.TTL == ttl && k.announcer.Beat(prefix+id, record.digest) == skerry.Unchanged {
		k.mu.Unlock()
		return record.digest, false, nil
	}
	record.Version = k.next(id)
	if err := k.announce(record); err != nil {
		k.mu.Unlock()
		return 0, false, err
	}
	k.sets[id] = record
	batch := k.ledger.Append(KeeperName, record)
	k.mu.Unlock()
	if err := batch.Wait(ctx); err != nil {
		return 0, false, skerry.Errorf(skerry.Unavailable, "the lease could not be written to disk: %w", err)
	}
	return record.digest, changed, nil
}

// next returns a version above all that are known of an owner. Another server, whose clock
// is ahead, may have given the last one. It must be called with mu held.
func (k *Keeper) next(id skerry.OwnerID) skerry.Version {
	k.seq++
	v := skerry.Version{Epoch: k.epoch, Seq: k.seq}
	if known, _, ok := k.announcer.Known(prefix + id); ok && !known.Less(v) {
		v = skerry.Version{Epoch: known.Epoch, Seq: known.Seq + 1}
	}
	return v
}

// announce must be called with mu held.
func (k *Keeper) announce(r *leased) error {
	_, err := k.announcer.Announce(r.announcement())
	return err
}

func (r *leased) announcement() skerry.Announcement {
	return skerry.Announcement{Owner: prefix + r.Owner, Kind: skerry.LeaseOwner, TTL: r.TTL, Set: r.Set, Digest: r.digest, Version: r.Version}
}

// BeatOwner implements [skerry.Leases].
func (k *Keeper) BeatOwner(id skerry.OwnerID, digest uint64) skerry.Outcome {
	return k.announcer.Beat(prefix+id, digest)
}

// drainTTL is the lease of an owner that was put through another server, and drains here.
const drainTTL = time.Minute

// Show lets the keeper look up the sets of owners that were put through other servers.
func (k *Keeper) Show(shown func(skerry.OwnerID) *skerry.Set) { k.shown = shown }

// DrainOwner implements [skerry.Leases].
func (k *Keeper) DrainOwner(ctx context.Context, id skerry.OwnerID) (*skerry.Set, error) {
	k.mu.Lock()
	var was *skerry.Set
	ttl := drainTTL
	if r := k.sets[id]; r != nil {
		was, ttl = r.Set, r.TTL
	} else if k.shown != nil {
		was = k.shown(prefix + id) // it was put through another server
	}
	k.mu.Unlock()
	if was == nil {
		return nil, noOwner(id)
	}
	set := skerry.Set{Node: was.Node, Checks: was.Checks}
	for _, i := range was.Instances {
		one := *i
		one.Draining = true
		set.Instances = append(set.Instances, &one)
	}
	_, _, err := k.PutOwner(ctx, id, set, ttl)
	return &set, err
}

func noOwner(id skerry.OwnerID) error {
	return &skerry.Error{Kind: skerry.NotFound, Subject: "owner", ID: string(id), Message: fmt.Sprintf("no owner %q has a lease here", id)}
}

// DeleteOwner implements [skerry.Leases].
func (k *Keeper) DeleteOwner(ctx context.Context, id skerry.OwnerID) error {
	k.mu.Lock()
	if !k.announcer.Withdraw(prefix+id, k.next(id)) {
		k.mu.Unlock()
		return noOwner(id)
	}
	delete(k.sets, id)
	batch := k.ledger.Append(KeeperName, leased{Owner: id})
	k.mu.Unlock()
	if err := batch.Wait(ctx); err != nil {
		return skerry.Errorf(skerry.Unavailable, "the withdrawal could not be written to disk: %w", err)
	}
	return nil
}

// Departed removes from the journal the owners that the catalog shows no more: they are
// lost, or were withdrawn at another server. The versions are those at which they departed.
// It ignores owners of other kinds, and those that were put again since.
func (k *Keeper) Departed(owners map[skerry.OwnerID]skerry.Version) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, v := range owners {
		bare, ok := strings.CutPrefix(string(id), prefix)
		r := k.sets[skerry.OwnerID(bare)]
		if ok && r != nil && !v.Less(r.Version) {
			delete(k.sets, r.Owner)
			k.ledger.Append(KeeperName, leased{Owner: r.Owner})
		}
	}
}

// Longest returns the longest TTL that was replayed. The catalog may expire no owner
// until it has passed.
func (k *Keeper) Longest() time.Duration {
	var d time.Duration
	for _, r := range k.sets {
		d = max(d, r.TTL)
	}
	return d
}

// Start announces the sets that were replayed, each with a full TTL from now, or forgets them if
// this process was away for so long that their owners may have ended, and be forgotten by all
// other servers. It must be called once, before any other method but those of [journal.Keeper].
func (k *Keeper) Start(ledger *journal.Ledger, announcer skerry.Announcer, away bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ledger, k.announcer = ledger, announcer
	for id, r := range k.sets {
		if away {
			delete(k.sets, id)
			ledger.Append(KeeperName, leased{Owner: id})
			continue
		}
		r.digest = r.Set.Digest()
		if r.Version == (skerry.Version{}) {
			r.Version = k.next(id)
		}
		if err := k.announcer.Restore(r.announcement()); err != nil {
			return fmt.Errorf("announce the restored owner %q: %w", id, err)
		}
	}
	return nil
}

// Replay implements [journal.Keeper].
func (k *Keeper) Replay(line []byte) error {
	var r leased
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	if r.Owner == "" {
		return fmt.Errorf("a lease record without owner")
	}
	if r.Set == nil {
		delete(k.sets, r.Owner)
		return nil
	}
	k.sets[r.Owner] = &r
	return nil
}

// Snapshot implements [journal.Keeper].
func (k *Keeper) Snapshot(write func(any) error) error {
	k.mu.Lock()
	records := make([]*leased, 0, len(k.sets))
	for _, r := range k.sets {
		records = append(records, r)
	}
	k.mu.Unlock()
	for _, r := range records {
		if err := write(r); err != nil {
			return err
		}
	}
	return nil
}
