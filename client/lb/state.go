package lb

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// State is the state of an instance in a balancer.
type State struct {
	Key    string  `json:"key"`
	Weight float64 `json:"weight"`
	Zone   string  `json:"zone,omitempty"`
	// Down means that it cannot take calls, for want of a connection.
	Down bool `json:"down,omitempty"`
	// Out means that it was taken out. Cause and, in words, Reason are why it was the
	// last time. ProbeIn is when it is probed next, if it is out.
	Out     bool          `json:"out,omitempty"`
	Cause   Cause         `json:"cause,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	ProbeIn time.Duration `json:"probe_in_ns,omitempty"`
	// Ready is the part of its share that it takes: less than 1 while it is new, or
	// has just been let in again.
	Ready float64 `json:"ready"`
	// Cost is the cost of the next call, less being better. It is computed from Latency,
	// Success (0 to 1) and InFlight.
	Cost     time.Duration `json:"cost_ns"`
	Latency  time.Duration `json:"latency_ns"`
	Success  float64       `json:"success"`
	InFlight int           `json:"in_flight"`
	// OK, Failed, Pushback and Neutral count the calls by how they ended; Ejected
	// counts how often it was taken out.
	OK       uint64 `json:"ok"`
	Failed   uint64 `json:"failed"`
	Pushback uint64 `json:"pushback"`
	Neutral  uint64 `json:"neutral"`
	Ejected  uint64 `json:"ejected"`
	// Share is its part of the calls of the last minute or so, 0 to 1.
	Share float64 `json:"share"`
}

// States returns the state of the instances, those of the subset if there is one, in the
// order of their keys.
func (b *Balancer) States(now time.Duration) []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	members := map[string]*member{}
	v := b.view.Load()
	for _, m := range append(slices.Clip(v.all.members), v.out...) {
		members[m.Key] = m
	}
	states := make([]State, len(b.nodes))
	all := 0.
	for i, n := range b.nodes {
		s := b.stats[n.Key]
		st := State{Key: n.Key, Weight: cmp.Or(max(n.Weight, 0), 1), Zone: n.Zone, Down: n.Down, Ready: 1}
		if m := members[n.Key]; m != nil {
			st.Ready = m.ready(now)
		}
		st.Cost = time.Duration(min(s.cost(now, st.Weight), math.MaxInt64/2))
		st.Latency = time.Duration(s.latency.read(now))
		st.Success = math.Float64frombits(s.success.Load())
		st.InFlight = int(s.flying.Load())
		s.mu.Lock()
		st.Out, st.Cause, st.Reason, st.Ejected = s.standing.out, s.standing.cause, s.standing.reason, s.standing.ejects
		if st.Out {
			st.ProbeIn = max(s.standing.probeAt-now, 0)
		}
		st.OK, st.Failed, st.Pushback, st.Neutral = s.ended[OK], s.ended[Failed], s.ended[Pushback], s.ended[Neutral]
		st.Share = s.traffic(now)
		s.mu.Unlock()
		all += st.Share
		states[i] = st
	}
	for i := range states {
		states[i].Share /= max(all, 1e-9)
	}
	slices.SortFunc(states, func(a, b State) int { return cmp.Compare(a.Key, b.Key) })
	return states
}
