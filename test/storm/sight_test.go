//go:build linux

package storm

import (
	"fmt"
	"slices"
	"time"
)

const (
	// tolerated is how long no server may hear an agent until the others may lose it: its TTL of 5 s, less a third of it, which
	// may have passed since its last beat.
	tolerated = 5*time.Second - 5*time.Second/3
	// returning is how long after a longer silence an agent may be missing at others: it may rest for 7.5 s.
	returning = 10 * time.Second
	// copied is how old the copies on disk may be from which an agent answers after it was killed.
	copied = 6 * time.Second
)

// agents is what happened at agents in a round.
type agents struct {
	home    map[string]int       // the host of the agent that an instance is at, by id
	acked   map[string]bool      // its registration was acknowledged
	ending  map[string]time.Time // when the withdrawal of an instance began, by id
	calls   int                  // that were answered
	slowest call
	failed  []call
	missing []missing
}

// call is a call at an agent.
type call struct {
	host     int
	what     string
	at, done time.Time
	err      error
	waits    bool // for a change
}

// missing is an instance that an agent showed in one answer and not in the next, which was asked for and there at the two times.
// An empty id: the next answer was empty.
type missing struct {
	host     int
	what, id string
	at, done time.Time
}

func newAgents() agents {
	return agents{home: map[string]int{}, acked: map[string]bool{}, ending: map[string]time.Time{}}
}

// lives notes an instance that is registered at the agent of a host from now on.
func (r *record) lives(id string, host int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.home[id] = host
}

// registered notes that an agent has acknowledged an instance.
func (r *record) registered(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[id] = true
}

// ends notes when the withdrawal of an instance began.
func (r *record) ends(id string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending[id] = at
}

// asked notes a call at an agent.
func (r *record) asked(c call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.err != nil {
		r.failed = append(r.failed, c)
		return
	}
	if r.calls++; !c.waits && c.done.Sub(c.at) > r.slowest.done.Sub(r.slowest.at) && !r.away(c) {
		r.slowest = c
	}
}

func (r *record) misses(m missing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.agents.missing = append(r.agents.missing, m)
}

// away reports whether the agent that was called was killed or stopped for a part of the call.
func (r *record) away(c call) bool {
	return slices.ContainsFunc(r.during(c.at, c.done), func(e era) bool { return e.out[c.host] > 0 })
}

// missed returns the calls that failed although their agent was up from their beginning to their end, and the instances
// that were missing in an answer although they had to be there.
func (r *record) missed() (out []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.failed {
		if !r.away(c) {
			out = append(out, fmt.Errorf("a%d failed %s, from %s to %s: %w", c.host-r.servers+1, c.what, c.at.Format(clock), c.done.Format(clock), c.err))
		}
	}
	for _, m := range r.agents.missing {
		if !r.rightly(m) {
			out = append(out, fmt.Errorf("a%d did not show %q of %s, asked from %s to %s", m.host-r.servers+1, m.id, m.what, m.at.Format(clock), m.done.Format(clock)))
		}
	}
	return out
}

// rightly reports whether an instance may be missing: its withdrawal has begun, or no server hears its agent for so long that
// others lose it. An agent itself never loses its own.
func (r *record) rightly(m missing) bool {
	if end, ok := r.ending[m.id]; ok && !end.After(m.done) {
		return true
	}
	home, ok := r.home[m.id]
	switch {
	case !ok:
		return m.id != "" // it left in an earlier round
	case home == m.host:
		return false
	}
	if !r.acked[m.id] {
		return true
	}
	// The times in which no server hears the agent, joined where they follow each other.
	var since time.Time
	for i, e := range r.eras {
		if !r.silent(e, home) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = e.from
		}
		until := m.done
		if i+1 < len(r.eras) && r.eras[i+1].from.Before(until) {
			until = r.eras[i+1].from
		}
		if until.Sub(since) > tolerated && until.Add(returning).After(m.at) {
			return true
		}
	}
	return false
}

// silent reports whether an agent is heard by none of the servers that could expire it: those that run and hear a majority. While there
// is none, nobody is expired.
func (r *record) silent(e era, host int) bool {
	if e.out[host] > 0 {
		return true
	}
	judges := false
	for n := range r.servers {
		if e.out[n] > 0 || !r.majority(e, n) {
			continue
		}
		if !e.cut(host, n) {
			return false
		}
		judges = true
	}
	return judges
}

// counts describes what was done at agents.
func (r *record) counts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slowest
	return fmt.Sprintf("%d calls answered, the slowest in %v (%s); %d failed while their agent was away and were made again; %d times an instance that had left was gone",
		r.calls, s.done.Sub(s.at).Round(time.Millisecond), s.what, len(r.failed), len(r.agents.missing))
}

// forget drops what was judged, but for the instances that may still live.
func (a *agents) forget() {
	for id := range a.ending {
		delete(a.home, id)
		delete(a.acked, id)
	}
	*a = agents{home: a.home, acked: a.acked, ending: map[string]time.Time{}}
}
