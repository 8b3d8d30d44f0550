package external

import (
	"context"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// ownerPrefix begins the names of the owners of external nodes in the catalog.
const ownerPrefix = "external/"

// waiter waits until the catalog shows the changes up to an index.
type waiter struct {
	index uint64
	done  chan struct{}
}

// Await returns when the catalog shows all changes up to an index of the quorum store.
func (x *Store) Await(ctx context.Context, index uint64) error {
	// Later changes are not of external records, so the catalog does not show them.
	last := x.kv.Changed(skerry.Below(record.External))
	w := waiter{min(index, last), make(chan struct{})}
	x.mu.Lock()
	if x.stopped || w.index <= x.shown {
		x.mu.Unlock()
		return nil
	}
	x.waiting = append(x.waiting, w)
	x.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		// The waiter stays until release drops it. It holds nothing.
		return skerry.Errorf(skerry.Unavailable, "the record is stored, but not shown by this server yet: %w", ctx.Err())
	}
}

// release ends the waits for indexes up to index. With stopped it ends all waits.
func (x *Store) release(index uint64, stopped bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.shown, x.stopped = max(x.shown, index), stopped
	rest := x.waiting[:0]
	for _, w := range x.waiting {
		if stopped || w.index <= x.shown {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	clear(x.waiting[len(rest):])
	x.waiting = rest
}

// Run shows the external records in the catalog until ctx ends.
func (x *Store) Run(ctx context.Context) {
	s := show{x: x, epoch: uint64(time.Now().UnixMilli()), known: map[string]skerry.Version{}}
	defer x.release(0, true)
	for {
		_, changed := x.kv.Watch(skerry.Below(record.External))
		s.update(x.kv.Snapshot())
		x.release(s.at, false)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// show shows the external records in the catalog, as one owner for each node.
type show struct {
	x     *Store
	epoch uint64
	seq   uint64
	at    uint64                    // the index of the snapshot that is shown
	known map[string]skerry.Version // the versions of the owners' sets, by node
}

// touched names the records of a node that changed.
type touched struct {
	node     bool
	services []string
	checks   []string
}

// update goes on to a newer snapshot. It announces only the records that changed, if the
// store still knows which they are.
func (s *show) update(to skerry.Snapshot) {
	feed, ok := s.x.kv.(skerry.Feed)
	var keys []string
	if ok && s.at > 0 {
		keys, ok = feed.Changes(record.External, s.at)
	}
	if ok && s.at > 0 {
		s.deltas(to, keys)
	} else {
		s.everything(to)
	}
	s.at = to.Index()
}

// deltas announces the records at keys.
func (s *show) deltas(to skerry.Snapshot, keys []string) {
	nodes := map[string]*touched{}
	var order []string
	for _, key := range keys {
		kind, node, id := split(key)
		if node == "" {
			continue
		}
		t := nodes[node]
		if t == nil {
			t = &touched{}
			nodes[node] = t
			order = append(order, node)
		}
		switch kind {
		case record.ExternalNodes:
			t.node = true
		case record.ExternalServices:
			t.services = append(t.services, id)
		case record.ExternalChecks:
			t.checks = append(t.checks, id)
		}
	}
	for _, node := range order {
		s.node(to, node, nodes[node])
	}
}

// split takes a key apart. node is empty for a key of a record that the catalog does not
// show.
func split(key string) (kind, node, id string) {
	for _, kind := range []string{record.ExternalNodes, record.ExternalServices, record.ExternalChecks} {
		if rest, ok := strings.CutPrefix(key, kind); ok {
			node, id, _ = strings.Cut(rest, "/")
			return kind, node, id
		}
	}
	return "", "", ""
}

// everything announces all records, and withdraws the nodes that are gone.
func (s *show) everything(to skerry.Snapshot) {
	there := map[string]bool{}
	for r := range to.All(skerry.Below(record.ExternalNodes), "") {
		node := r.Key[len(record.ExternalNodes):]
		there[node] = true
		s.whole(to, node)
	}
	for node := range s.known {
		if !there[node] {
			s.withdraw(node)
		}
	}
}

// node announces the records of a node that changed.
func (s *show) node(to skerry.Snapshot, node string, t *touched) {
	r := to.Get(record.ExternalNodes + node)
	base, known := s.known[node]
	switch {
	case r == nil:
		s.withdraw(node)
		return
	case !known:
		s.whole(to, node)
		return
	}
	d := &skerry.Delta{}
	if t.node {
		if d.Node = decode[skerry.Node](s, r); d.Node == nil {
			return
		}
	}
	for _, id := range t.services {
		if r := to.Get(record.ExternalServices + node + "/" + id); r == nil {
			d.RemovedInstances = append(d.RemovedInstances, id)
		} else if i := decode[skerry.Instance](s, r); i != nil {
			d.Instances = append(d.Instances, i)
		}
	}
	for _, id := range t.checks {
		if r := to.Get(record.ExternalChecks + node + "/" + id); r == nil {
			d.RemovedChecks = append(d.RemovedChecks, id)
		} else if c := decode[skerry.Check](s, r); c != nil {
			d.Checks = append(d.Checks, c)
		}
	}
	if s.announce(node, skerry.Announcement{Base: base, Delta: d}) == skerry.Resend {
		s.whole(to, node)
	}
}

// whole announces all records of a node.
func (s *show) whole(to skerry.Snapshot, node string) {
	set := &skerry.Set{Node: decode[skerry.Node](s, to.Get(record.ExternalNodes+node))}
	if set.Node == nil {
		return
	}
	for r := range to.All(skerry.Below(record.ExternalServices+node+"/"), "") {
		if i := decode[skerry.Instance](s, r); i != nil {
			set.Instances = append(set.Instances, i)
		}
	}
	for r := range to.All(skerry.Below(record.ExternalChecks+node+"/"), "") {
		if c := decode[skerry.Check](s, r); c != nil {
			set.Checks = append(set.Checks, c)
		}
	}
	s.announce(node, skerry.Announcement{Set: set})
}

// decode returns nil for a record that cannot be shown. A damaged record must not take the
// others with it.
func decode[T any, P interface {
	*T
	SetStamp(skerry.Stamp)
}](s *show, r *skerry.Record) P {
	v, err := record.DecodeExternal[T, P](r)
	if err != nil {
		s.x.log.Error("an external record is not shown", "error", err)
		return nil
	}
	return v
}

// announce announces the set of a node, or a delta of it.
func (s *show) announce(node string, a skerry.Announcement) skerry.Outcome {
	s.seq++
	a.Owner, a.Kind = skerry.OwnerID(ownerPrefix+node), skerry.ExternalOwner
	a.Version = skerry.Version{Epoch: s.epoch, Seq: s.seq}
	outcome, err := s.x.announcer.Announce(a)
	if err != nil {
		s.x.log.Error("the catalog refused an external node", "node", node, "error", err)
		return outcome
	}
	if outcome != skerry.Resend {
		s.known[node] = a.Version
	}
	return outcome
}

// withdraw withdraws a node that the catalog shows.
func (s *show) withdraw(node string) {
	if _, known := s.known[node]; known {
		s.seq++
		s.x.announcer.Withdraw(skerry.OwnerID(ownerPrefix+node), skerry.Version{Epoch: s.epoch, Seq: s.seq})
		delete(s.known, node)
	}
}
