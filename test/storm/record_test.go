//go:build linux

package storm

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// ttl is that of the leases under load. A beat comes each quarter of it.
	ttl = 6 * time.Second
	// fresh is how long after a beat its server has no excuse to lose an owner, nor has
	// another server that hears this one.
	fresh = ttl * 2 / 3
	// settled is how long two servers must have heard each other before the one has to
	// know what the other hears: 2 s until a cut shows, 1 s until a beat is taken over.
	settled = 3 * time.Second
	// frozen is how long a server must have been in a minority to remove nothing more: it
	// has to notice.
	frozen = 4 * time.Second
)

// record is what happened in a round, for the checks after it. All methods may be called
// at once.
type record struct {
	mu       sync.Mutex
	servers  int
	eras     []era
	beats    map[string][]beat // by owner, in the order of their answers
	left     map[string]bool   // owners that withdraw
	vanished []vanish
	agents
}

// era is a time in which faults did not change; it lasts until the next.
type era struct {
	from  time.Time
	apart map[pair]int // how many faults cut a way
	slow  []int        // how many slow a host's link: whether it keeps up is not known
	out   []int        // how many keep the process of a host from running: it is killed, or stopped
}

// beat is one that a server answered with ok. The server heard it between the two times.
type beat struct {
	server   int
	at, done time.Time
}

// vanish is an owner that a server showed in one answer and not in the next. It vanished
// between the two times: the first was asked for at the one, and the next was there at the
// other.
type vanish struct {
	server   int
	owner    string
	from, at time.Time
}

func newRecord(servers, agents int) *record {
	r := &record{servers: servers, beats: map[string][]beat{}, left: map[string]bool{}, agents: newAgents()}
	r.eras = []era{{apart: map[pair]int{}, slow: make([]int, servers+agents), out: make([]int, servers+agents)}}
	return r
}

// mark begins an era, which is the last one with a change.
func (r *record) mark(now time.Time, change func(*era)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.eras[len(r.eras)-1]
	next := era{from: now, apart: maps.Clone(last.apart), slow: slices.Clone(last.slow), out: slices.Clone(last.out)}
	change(&next)
	r.eras = append(r.eras, next)
}

func (r *record) heard(owner string, server int, at, done time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats[owner] = append(r.beats[owner], beat{server, at, done})
}

// leaves notes that an owner withdraws from now on.
func (r *record) leaves(owner string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left[owner] = true
}

func (r *record) gone(server int, owner string, from, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left[owner] {
		return
	}
	r.vanished = append(r.vanished, vanish{server, owner, from, at})
}

// during are the eras of a time.
func (r *record) during(from, to time.Time) (out []era) {
	for i, e := range r.eras {
		if !e.from.After(to) && (i+1 == len(r.eras) || !r.eras[i+1].from.Before(from)) {
			out = append(out, e)
		}
	}
	return out
}

// hears reports whether two servers ran and heard each other, or were one, for all of that
// time.
func (r *record) hears(a, b int, from, to time.Time) bool {
	return !slices.ContainsFunc(r.during(from, to), func(e era) bool {
		return e.out[a] > 0 || e.out[b] > 0 || a != b && (e.slow[a] > 0 || e.slow[b] > 0 || e.cut(a, b))
	})
}

// cut reports whether a way between two servers is cut. One counts as both.
func (e *era) cut(a, b int) bool { return e.apart[pair{a, b}] > 0 || e.apart[pair{b, a}] > 0 }

// minority reports whether a server ran and heard no majority for all of that time.
func (r *record) minority(server int, from, to time.Time) bool {
	return !slices.ContainsFunc(r.during(from, to), func(e era) bool {
		return e.out[server] > 0 || r.majority(e, server)
	})
}

// majority reports whether a server hears a majority.
func (r *record) majority(e era, server int) bool {
	up := 0
	for other := range r.servers {
		if e.out[other] == 0 && !e.cut(server, other) {
			up++
		}
	}
	return 2*up > r.servers
}

// wrong returns what vanished although it must not have: an owner that beat at a server
// which the one that lost it heard, or any at a server in a minority.
func (r *record) wrong() (out []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.vanished {
		if r.minority(v.server, v.from.Add(-frozen), v.at) {
			out = append(out, fmt.Errorf("s%d, in a minority for %v, lost %s at %s", v.server+1, frozen, v.owner, v.at.Format(clock)))
			continue
		}
		beats := r.beats[v.owner]
		i := slices.IndexFunc(beats, func(b beat) bool {
			return !b.done.After(v.from) && v.at.Sub(b.at) < fresh && r.hears(v.server, b.server, b.at.Add(-settled), v.at)
		})
		if i >= 0 {
			b := beats[i]
			out = append(out, fmt.Errorf("s%d lost %s at %s, %v after it had beaten at s%d, which it heard", v.server+1, v.owner, v.at.Format(clock), v.at.Sub(b.at), b.server+1))
		}
	}
	return out
}

func (r *record) removals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.vanished)
}

// clock is the form of times in what is told.
const clock = "15:04:05.000"

// forget drops what happened before a time, and all that vanished.
func (r *record) forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vanished = nil
	r.agents.forget()
	for owner, beats := range r.beats {
		r.beats[owner] = slices.DeleteFunc(beats, func(b beat) bool { return b.at.Before(before) })
		if len(r.beats[owner]) == 0 {
			delete(r.beats, owner)
		}
	}
	for len(r.eras) > 1 && r.eras[1].from.Before(before) {
		r.eras = r.eras[1:]
	}
}

// hold is a time in which a client was sure to have a lock.
type hold struct {
	key, session string
	lockIndex    uint64
	from, to     time.Time
}

// doubles returns the locks that two sessions were sure to have at once, and those that
// were given anew without a greater lock index.
func doubles(holds []hold) (out []error) {
	byKey := map[string][]hold{}
	for _, h := range holds {
		byKey[h.key] = append(byKey[h.key], h)
	}
	for key, all := range byKey {
		slices.SortFunc(all, func(a, b hold) int { return a.from.Compare(b.from) })
		for i, a := range all {
			for _, b := range all[i+1:] {
				if a.session == b.session {
					continue
				}
				if b.from.Before(a.to) {
					out = append(out, fmt.Errorf("%s was held twice: by %s from %s to %s, by %s from %s to %s", key,
						a.session, a.from.Format(clock), a.to.Format(clock), b.session, b.from.Format(clock), b.to.Format(clock)))
				}
				if b.lockIndex <= a.lockIndex {
					out = append(out, fmt.Errorf("%s was given to %s with lock index %d, and later to %s with %d", key, a.session, a.lockIndex, b.session, b.lockIndex))
				}
			}
		}
	}
	return out
}
