package registry

import (
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// traces are the questions about the way of changes.
type traces struct {
	begun []cluster.Trace // of this step: they are to be sent
	held  []heldTrace     // of others, about versions that are not here yet
}

// heldTrace is a question of another server.
type heldTrace struct {
	cluster.Trace
	from cluster.ServerID
	at   time.Time
}

const (
	// maxHeld bounds the questions that wait for a version, and holdFor is how long they do: the other server gives up then.
	maxHeld = 1024
	holdFor = time.Minute
	// comparedSet is the most instances of a whole set in which the changed service is looked for.
	comparedSet = 64
	canaryTTL   = 24 * time.Hour // it is told when its server dies anyway, and need not be judged
)

// Canary makes a change of this server's own canary: it is registered, or withdrawn if it was. Without another server or
// an agent there is nothing to time, and watched is false then.
func (r *Registry) Canary(watched bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Meter == nil || !watched && !r.core.Others() {
		return
	}
	now := r.cfg.Now()
	id := skerry.OwnerID("canary/" + string(r.cfg.Self))
	v := r.core.Newest(id)
	if v.Epoch < uint64(r.cfg.Life) {
		v = skerry.Version{Epoch: uint64(r.cfg.Life)}
	}
	v.Seq++
	record := cluster.Record{Owner: id, Kind: skerry.CanaryOwner, TTL: canaryTTL, Version: v}
	if r.canaries[id] != nil {
		record.Gone = true
	} else {
		record.Set = &skerry.Set{Node: &skerry.Node{Name: string(r.cfg.Self)}}
		record.Digest = record.Set.Digest()
	}
	r.core.PutLease(now, record)
	r.traces.begun = append(r.traces.begun, cluster.Trace{Owner: id, Version: v})
	r.flush()
}

func (r *Registry) applyCanary(c cluster.Change) {
	switch {
	case !c.Show:
		delete(r.canaries, c.Owner)
	case c.Set != nil:
		r.canaries[c.Owner] = c.Set
	}
}

// sample begins to time a change that is about to be applied, if one is due.
func (r *Registry) sample(c *cluster.Change) {
	m := r.cfg.Meter
	if m == nil || c.Show && c.Set == nil && c.Delta == nil || !m.Samples(r.cfg.Now()) {
		return
	}
	if service := r.changed(c); service != "" {
		r.traces.begun = append(r.traces.begun, cluster.Trace{Owner: c.Owner, Version: c.Version, Service: service})
	}
}

// changed returns a service that a change is about; empty: none is found.
func (r *Registry) changed(c *cluster.Change) string {
	if d := c.Delta; c.Show && d != nil {
		for _, i := range d.Instances {
			return i.Service
		}
		for _, k := range d.Checks {
			if k.ServiceName != "" {
				return k.ServiceName
			}
		}
		if len(d.RemovedInstances) == 0 {
			return ""
		}
	}
	was, is := r.cfg.Table.Whole(c.Owner), c.Set
	if !c.Show {
		is = nil
	}
	if was != nil && len(was.Instances) > comparedSet || is != nil && len(is.Instances) > comparedSet {
		return ""
	}
	before := map[string]*skerry.Instance{}
	if was != nil {
		for _, i := range was.Instances {
			before[i.ID] = i
		}
	}
	if d := c.Delta; c.Show && d != nil {
		for _, id := range d.RemovedInstances {
			if i := before[id]; i != nil {
				return i.Service
			}
		}
		return ""
	}
	if is != nil {
		for _, i := range is.Instances {
			if b := before[i.ID]; b == nil || b.Digest() != i.Digest() {
				return i.Service
			}
			delete(before, i.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		return before[id].Service
	}
	return ""
}

// trace sends the questions of this step after the records that they are about, and answers those of others whose versions are here now.
// It must be called with mu held, after each step.
func (r *Registry) trace() {
	for _, t := range r.traces.begun {
		var servers []string
		for _, id := range r.core.Known() {
			if id != r.cfg.Self {
				servers = append(servers, string(id))
			}
		}
		t.N = r.cfg.Meter.Begin(r.cfg.Now(), t.Service, servers)
		r.post.add([]cluster.Envelope{{Message: t}}, r.whole)
		r.askAgents(t.Service, func(took map[string]time.Duration, late []string) {
			r.cfg.Meter.AtAgents(r.cfg.Now(), t.N, string(r.cfg.Self), took, late)
		})
	}
	r.traces.begun = r.traces.begun[:0]
	r.traces.held = slices.DeleteFunc(r.traces.held, func(h heldTrace) bool { return r.tell(h.from, h.Trace) })
}

// traced takes the messages about traces. It reports whether it was one.
func (r *Registry) traced(now time.Time, from cluster.ServerID, m cluster.Message) bool {
	switch m := m.(type) {
	case cluster.Trace:
		if !r.tell(from, m) && len(r.traces.held) < maxHeld {
			r.traces.held = append(r.traces.held, heldTrace{m, from, now})
		}
	case cluster.Traced:
		if r.cfg.Meter != nil {
			r.cfg.Meter.Arrived(now, m.N, string(from))
		}
	case cluster.TracedAgents:
		if r.cfg.Meter != nil {
			r.cfg.Meter.AtAgents(now, m.N, string(from), m.Took, m.Late)
		}
	default:
		return false
	}
	return true
}

// tell answers a question of another server, if its version is here.
func (r *Registry) tell(to cluster.ServerID, t cluster.Trace) bool {
	if known, ok := r.core.Record(t.Owner); !ok || known.Version.Less(t.Version) {
		return false
	}
	r.post.add([]cluster.Envelope{{To: to, Message: cluster.Traced{N: t.N}}}, r.whole)
	r.askAgents(t.Service, func(took map[string]time.Duration, late []string) {
		r.Send([]cluster.Envelope{{To: to, Message: cluster.TracedAgents{N: t.N, Took: took, Late: late}}})
	})
	return true
}

func (r *Registry) askAgents(service string, report func(took map[string]time.Duration, late []string)) {
	if r.cfg.Agents != nil {
		r.cfg.Agents(service, report)
	}
}

// forget drops questions of others that have waited for long.
func (t *traces) forget(now time.Time) {
	t.held = slices.DeleteFunc(t.held, func(h heldTrace) bool { return now.Sub(h.at) >= holdFor })
}

// whole returns the set of an owner; nil if there is none.
func (r *Registry) whole(id skerry.OwnerID) *skerry.Set {
	if set := r.canaries[id]; set != nil {
		return set
	}
	return r.cfg.Table.Whole(id)
}

// land is flush after a step that took the word of an owner that came to this server.
func (r *Registry) land() applied {
	r.landing = true
	defer func() { r.landing = false }()
	return r.flush()
}
