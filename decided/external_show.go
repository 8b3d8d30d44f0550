package decided

import (
	"context"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// externalOwner begins the names of the owners that external nodes have in the catalog.
const externalOwner = "external/"

// shownWaiter waits until the catalog shows the store's changes up to an index.
type shownWaiter struct {
	index uint64
	done  chan struct{}
}

// Await implements [CatalogTx].
func (x *Externals) Await(ctx context.Context, index uint64) error {
	// What came after the last change of an external record shows nothing.
	last := x.KV.Changed(skerry.Below(extPrefix))
	w := shownWaiter{min(index, last), make(chan struct{})}
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
		// The waiter stays for show to let go: it holds nothing.
		return skerry.Errorf(skerry.Unavailable, "the record is stored, but not shown by this server yet: %w", ctx.Err())
	}
}

// release lets those go on who waited for an index up to this one.
func (x *Externals) release(index uint64, stopped bool) {
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
func (x *Externals) Run(ctx context.Context) {
	s := show{x: x, epoch: uint64(time.Now().UnixMilli()), known: map[string]skerry.Version{}}
	defer x.release(0, true)
	for {
		_, changed := x.KV.Watch(skerry.Below(extPrefix))
		s.update(x.KV.Snapshot())
		x.release(s.at, false)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// show is what the catalog shows of the external records: an owner for each node.
type show struct {
	x     *Externals
	epoch uint64
	seq   uint64
	at    uint64                    // index of the snapshot that is shown
	known map[string]skerry.Version // of the owners' sets
}

// touched is what changed of a node.
type touched struct {
	node     bool
	services []string
	checks   []string
}

// update goes on to a newer snapshot. It announces what changed and nothing else,
// if the store remembers what that was.
func (s *show) update(to skerry.Snapshot) {
	feed, ok := s.x.KV.(skerry.Feed)
	var keys []string
	if ok && s.at > 0 {
		keys, ok = feed.Changes(extPrefix, s.at)
	}
	if ok && s.at > 0 {
		s.deltas(to, keys)
	} else {
		s.everything(to)
	}
	s.at = to.Index()
}

func (s *show) deltas(to skerry.Snapshot, keys []string) {
	nodes := map[string]*touched{}
	var order []string
	for _, key := range keys {
		kind, node, id := splitExternal(key)
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
		case extNode:
			t.node = true
		case extService:
			t.services = append(t.services, id)
		case extCheck:
			t.checks = append(t.checks, id)
		}
	}
	for _, node := range order {
		s.node(to, node, nodes[node])
	}
}

// splitExternal takes a key apart; node is empty for keys that the catalog shows
// nothing of.
func splitExternal(key string) (kind, node, id string) {
	for _, kind := range []string{extNode, extService, extCheck} {
		if rest, ok := strings.CutPrefix(key, kind); ok {
			node, id, _ = strings.Cut(rest, "/")
			return kind, node, id
		}
	}
	return "", "", ""
}

func (s *show) everything(to skerry.Snapshot) {
	there := map[string]bool{}
	for r := range to.All(skerry.Below(extNode), "") {
		node := r.Key[len(extNode):]
		there[node] = true
		s.whole(to, node)
	}
	for node := range s.known {
		if !there[node] {
			s.withdraw(node)
		}
	}
}

// node announces what was touched of one node.
func (s *show) node(to skerry.Snapshot, node string, t *touched) {
	record := to.Get(extNode + node)
	base, known := s.known[node]
	switch {
	case record == nil:
		s.withdraw(node)
		return
	case !known:
		s.whole(to, node)
		return
	}
	d := &skerry.Delta{}
	if t.node {
		if d.Node = decodeShown[skerry.Node](s, record); d.Node == nil {
			return
		}
	}
	for _, id := range t.services {
		if r := to.Get(extService + node + "/" + id); r == nil {
			d.RemovedInstances = append(d.RemovedInstances, id)
		} else if i := decodeShown[skerry.Instance](s, r); i != nil {
			d.Instances = append(d.Instances, i)
		}
	}
	for _, id := range t.checks {
		if r := to.Get(extCheck + node + "/" + id); r == nil {
			d.RemovedChecks = append(d.RemovedChecks, id)
		} else if c := decodeShown[skerry.Check](s, r); c != nil {
			d.Checks = append(d.Checks, c)
		}
	}
	if s.announce(node, skerry.Announcement{Base: base, Delta: d}) == skerry.Resend {
		s.whole(to, node)
	}
}

// whole announces all of a node.
func (s *show) whole(to skerry.Snapshot, node string) {
	set := &skerry.Set{Node: decodeShown[skerry.Node](s, to.Get(extNode+node))}
	if set.Node == nil {
		return
	}
	for r := range to.All(skerry.Below(extService+node+"/"), "") {
		if i := decodeShown[skerry.Instance](s, r); i != nil {
			set.Instances = append(set.Instances, i)
		}
	}
	for r := range to.All(skerry.Below(extCheck+node+"/"), "") {
		if c := decodeShown[skerry.Check](s, r); c != nil {
			set.Checks = append(set.Checks, c)
		}
	}
	s.announce(node, skerry.Announcement{Set: set})
}

// decodeShown returns nil for a record that cannot be shown: one that is damaged
// must not take the others with it.
func decodeShown[T any, P interface {
	*T
	SetStamp(skerry.Stamp)
}](s *show, r *skerry.Record) P {
	v, err := decodeExternal[T, P](r)
	if err != nil {
		s.x.Log.Error("an external record is not shown", "error", err)
		return nil
	}
	return v
}

func (s *show) announce(node string, a skerry.Announcement) skerry.Outcome {
	s.seq++
	a.Owner, a.Kind = skerry.OwnerID(externalOwner+node), skerry.ExternalOwner
	a.Version = skerry.Version{Epoch: s.epoch, Seq: s.seq}
	outcome, err := s.x.Announcer.Announce(a)
	if err != nil {
		s.x.Log.Error("the catalog refused an external node", "node", node, "error", err)
		return outcome
	}
	if outcome != skerry.Resend {
		s.known[node] = a.Version
	}
	return outcome
}

func (s *show) withdraw(node string) {
	if _, known := s.known[node]; known {
		s.x.Announcer.Withdraw(skerry.OwnerID(externalOwner + node))
		delete(s.known, node)
	}
}
