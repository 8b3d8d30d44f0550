package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// take applies a frame that came over a stream.
func (c *Cache) take(ctx context.Context, stream uint64, frame []byte) error {
	var t follow.Tell
	if err := json.Unmarshal(frame, &t); err != nil {
		return fmt.Errorf("a message of the server is not understood: %w", err)
	}
	if t.Refused != "" {
		return fmt.Errorf("the server refuses: %s", t.Refused)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := *c.stand.Load()
	if st.stream != stream {
		return nil // of an earlier one
	}
	if t.State != nil {
		was := st
		st.state, st.up = *t.State, true
		c.stand.Store(&st)
		if !was.up {
			c.cfg.Log.Info("services are followed at a server", "server", st.server)
			c.open()
		}
		if was.state.Recovering && !st.state.Recovering {
			c.release()
		}
	}
	for _, p := range t.Positions {
		if v, ok := c.names.Load(p.Service); ok {
			v.(*service).position.Store(uint32(p.Position))
		}
	}
	for i := range t.Views {
		if err := c.apply(&t.Views[i]); err != nil {
			return err
		}
	}
	if t.Sync != nil {
		if v, ok := c.names.Load(t.Sync.Service); ok {
			v.(*service).confirmed(t.Sync.ID)
		}
	}
	if t.Probe != nil {
		c.probed(ctx, t.Probe)
	}
	if t.Echo != 0 {
		c.ask(follow.Ask{Echoes: []uint64{t.Echo}})
	}
	c.metrics.views.Add(float64(len(t.Views)))
	return nil
}

// release asks again for the services that have entries of before the server's start.
func (c *Cache) release() {
	c.names.Range(func(_, v any) bool {
		if s := v.(*service); s.held {
			s.held = false
			c.ask(follow.Ask{Follow: []follow.Want{{Service: s.name, Position: skerry.Position(s.position.Load())}}})
		}
		return true
	})
}

// apply applies a view of the server. It must be called with mu held.
func (c *Cache) apply(v *follow.View) error {
	found, ok := c.names.Load(v.Service)
	if !ok {
		return nil // it is not followed any more
	}
	s := found.(*service)
	if s.part != nil {
		s.part.Entries, s.part.Further = append(s.part.Entries, v.Entries...), v.Further
		v = s.part
	}
	if s.part = nil; v.Further {
		s.part = v
		return nil
	}
	switch {
	case v.Same && v.Digest == s.digest && s.followed != nil:
		c.confirm(s)
		return nil
	case !v.Same && !v.Whole && s.followed == nil:
		return nil // it was dropped meanwhile, and asked for anew
	case v.Same:
		return fmt.Errorf("the server knows another view of %q than this agent has", v.Service)
	}
	next, err := c.follow(s, v)
	if err != nil {
		return err
	}
	first := s.followed == nil
	if !first && next.Cause == s.followed.Cause {
		if news := next.Since(s.followed); news.Empty() {
			next = s.followed
		}
	}
	s.followed, s.digest, s.dirty = next, v.Digest, true
	signal(c.dirtied)
	if s.held {
		s.digest = "" // no server has this view: the next one has to send its whole one
	}
	c.confirm(s)
	c.lay(s)
	if first {
		close(s.known)
	}
	return nil
}

// confirm notes that the followed view is that of the present server.
func (c *Cache) confirm(s *service) {
	st := c.stand.Load()
	s.server = st.server
	s.stream.Store(st.stream)
}

// follow returns the followed view after a change.
func (c *Cache) follow(s *service, v *follow.View) (*skerry.View, error) {
	var was []*skerry.Entry
	if s.followed != nil {
		was = s.followed.All()
	}
	news := make([]*skerry.Entry, len(v.Entries))
	for i := range v.Entries {
		if news[i] = v.Entries[i].Entry(); news[i] == nil {
			return nil, fmt.Errorf("the server sent an entry of %q without a record", v.Service)
		}
	}
	slices.SortStableFunc(news, (*skerry.Entry).Compare)
	gone := make(map[follow.Key]bool, len(v.Removed))
	for _, k := range v.Removed {
		gone[k] = true
	}
	index := c.cfg.Own.Issue()
	recovering := c.stand.Load().state.Recovering
	moved := s.server != "" && s.server != c.stand.Load().server
	now := time.Now()
	keep := func(k follow.Key) bool {
		switch {
		case !v.Whole:
			return !gone[k]
		case recovering || moved && now.Sub(s.young[k]) < spreadsWithin:
			s.held = true
			return true
		}
		return false
	}
	s.held = s.held && !v.Whole
	all := make([]*skerry.Entry, 0, len(was)+len(news))
	for len(was)+len(news) > 0 {
		switch {
		case len(news) == 0 || len(was) > 0 && was[0].Compare(news[0]) < 0:
			if keep(follow.KeyOf(was[0])) {
				all = append(all, was[0])
			}
			was = was[1:]
		case len(was) == 0 || was[0].Compare(news[0]) > 0:
			stamp(nil, news[0], index)
			s.came(follow.KeyOf(news[0]), now)
			all, news = append(all, news[0]), news[1:]
		default:
			stamp(was[0], news[0], index)
			all, was, news = append(all, news[0]), was[1:], news[1:]
		}
	}
	next := &skerry.View{Service: s.name, Cause: v.Cause}
	next.SetAll(all)
	return next, nil
}

// came notes an entry that is new here.
func (s *service) came(k follow.Key, now time.Time) {
	if s.young == nil {
		s.young = map[follow.Key]time.Time{}
	}
	s.young[k] = now
}

// age forgets the entries that are not young any more.
func (s *service) age(now time.Time) {
	maps.DeleteFunc(s.young, func(_ follow.Key, came time.Time) bool { return now.Sub(came) >= spreadsWithin })
	if len(s.young) == 0 {
		s.young = nil
	}
}

// stamp sets the stamps of an entry's records, and takes those over that did not change: was is the entry of before,
// nil if there was none. Stamps of the quorum store stay, so that transactions can compare them.
func stamp(was, e *skerry.Entry, index uint64) {
	var node *skerry.Node
	var instance *skerry.Instance
	if was != nil {
		node, instance = was.Node, was.Instance
	}
	e.Node = kept(node, e.Node, func(n *skerry.Node) *skerry.Stamp { return &n.Stamp }, index)
	e.Instance = kept(instance, e.Instance, func(i *skerry.Instance) *skerry.Stamp { return &i.Stamp }, index)
	for n, c := range e.Checks {
		var before *skerry.Check
		if was != nil {
			if at := slices.IndexFunc(was.Checks, func(b *skerry.Check) bool { return b.ID == c.ID }); at >= 0 {
				before = was.Checks[at]
			}
		}
		e.Checks[n] = kept(before, c, func(c *skerry.Check) *skerry.Stamp { return &c.Stamp }, index)
	}
}

// kept returns was if it is equal to now but for the stamp, else now with its stamp set.
func kept[T any](was, now *T, stampOf func(*T) *skerry.Stamp, index uint64) *T {
	s := stampOf(now)
	if s.Modified != 0 {
		if was != nil && reflect.DeepEqual(was, now) {
			return was
		}
		return now
	}
	*s = skerry.Stamp{Created: index, Modified: index}
	if was == nil {
		return now
	}
	s.Created = stampOf(was).Created
	bare := *was
	*stampOf(&bare) = *s
	if reflect.DeepEqual(&bare, now) {
		return was
	}
	return now
}
