package lb

import "time"

// view is the list as picks see it. It does not change; a change makes another.
type view struct {
	near, far []*member // of the caller's zone, and of others
	nearShare float64   // of the calls that go to near
	all       []*member // near and far
	out       []*member // that are to be probed; empty while too many are out
}

// member is an instance of a view.
type member struct {
	Node
	stat *stat
	slow int64 // the slow start's length, 0 when it has none
	per  float64
}

func (m *member) cost(now time.Duration) float64 {
	cost := m.stat.cost(now) * m.per
	if m.slow != 0 {
		cost /= ramp(int64(now-m.Started), m.slow)
	}
	return cost
}

// rebuild makes the view anew. Called with mu held.
func (b *Balancer) rebuild(now time.Duration) {
	v := &view{}
	var in, out []*member
	old := false // some instance is not new
	for i := range b.nodes {
		n := b.nodes[i]
		if n.Down {
			continue
		}
		m := &member{Node: n, stat: b.stats[n.Key], per: 1}
		if n.Weight > 0 {
			m.per = 1 / n.Weight
		}
		if b.o.SlowStart > 0 && n.Started != 0 && now-n.Started < b.o.SlowStart {
			m.slow = int64(b.o.SlowStart)
		} else {
			old = true
		}
		m.stat.mu.Lock()
		isOut := m.stat.standing.out
		m.stat.mu.Unlock()
		if isOut {
			out = append(out, m)
		} else {
			in = append(in, m)
		}
	}
	// When so many fail, it may well be the caller, or those that are left could not
	// bear what the others took: all are used.
	v.out = out
	if float64(len(out)) > b.o.MaxEjected*float64(len(in)+len(out)) {
		in = append(in, out...)
	}
	if !old {
		for _, m := range in {
			m.slow = 0
		}
	}
	v.all = in
	v.split(in, b.o.Zone, b.o.Callers)
	b.view.Store(v)
	b.schedule()
}

// without returns the members of set that exclude leaves, or of all.
func (v *view) without(set []*member, exclude func(*Node) bool) []*member {
	for _, set := range [][]*member{set, v.all} {
		var left []*member
		for _, m := range set {
			if !exclude(&m.Node) {
				left = append(left, m)
			}
		}
		if len(left) > 0 {
			return left
		}
	}
	return nil
}
