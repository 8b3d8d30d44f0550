// Package autopilot decides which members of the quorum store get a vote, and which dead
// ones make room. It is pure: the list of members and the time go in, one change comes out.
package autopilot

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry/quorum"
)

// Config configures a [Pilot]. Zero values mean their defaults.
type Config struct {
	// Stable is how long a member must be connected before it gets a vote; default 10 s,
	// Consul's server_stabilization_time.
	Stable time.Duration
	// Dead is how long a voter must be away before a spare takes its place; default 10 min.
	Dead time.Duration
	// Forgotten is how long a member without a vote must be away before it leaves the
	// list; default 24 h.
	Forgotten time.Duration
	// KeepDead leaves dead members in the list.
	KeepDead bool
	// Least is how many members must be left when a dead voter is removed.
	Least int
	// Votes reports whether a member without a vote takes one: a read server does not. nil:
	// all do.
	Votes func(quorum.Member) bool
}

// mostVoters is the most members with a vote: more make each write slower, and bear no
// failure that five do not.
const mostVoters = 5

// Pilot watches the members. Its methods must not be called at once.
type Pilot struct {
	cfg   Config
	since map[string]time.Time // since when a member is connected or away, by its id
	was   map[string]bool      // connected
}

// New returns a pilot that has seen no member yet.
func New(cfg Config) *Pilot {
	p := &Pilot{since: map[string]time.Time{}, was: map[string]bool{}}
	p.Configure(cfg)
	return p
}

// Configure changes the configuration. The pilot keeps its knowledge of the members.
func (p *Pilot) Configure(cfg Config) {
	if cfg.Stable == 0 {
		cfg.Stable = 10 * time.Second
	}
	if cfg.Dead == 0 {
		cfg.Dead = 10 * time.Minute
	}
	if cfg.Forgotten == 0 {
		cfg.Forgotten = 24 * time.Hour
	}
	if cfg.Votes == nil {
		cfg.Votes = func(quorum.Member) bool { return true }
	}
	p.cfg = cfg
}

// Change is a change of the members. At most one of its fields is set: the id of a member.
type Change struct{ Promote, Remove string }

// Next returns the change that is due, as the leader sees the members.
//
// The number of voters stays odd: four bear no more failures than three. So spares wait as
// learners until two of them are ready, or until one can take the place of a dead voter.
func (p *Pilot) Next(now time.Time, members []quorum.Member) Change {
	p.note(now, members)
	var voters, ready, dead, forgotten []string
	healthy := 0
	for _, m := range members {
		away := now.Sub(p.since[m.ID])
		switch {
		case !m.Learner:
			voters = append(voters, m.ID)
			if m.Connected {
				healthy++
			} else if away >= p.cfg.Dead {
				dead = append(dead, m.ID)
			}
		case !m.Connected && away >= p.cfg.Forgotten:
			forgotten = append(forgotten, m.ID)
		case m.Connected && away >= p.cfg.Stable && p.cfg.Votes(m):
			ready = append(ready, m.ID)
		}
	}
	most := min(len(voters)+len(ready), mostVoters)
	most -= 1 - most%2
	switch {
	case len(forgotten) > 0 && !p.cfg.KeepDead:
		return Change{Remove: forgotten[0]}
	case len(ready) == 0:
		return Change{}
	case len(voters) < most, len(voters)%2 == 0:
		return Change{Promote: ready[0]}
	case len(dead) > 0 && !p.cfg.KeepDead && 2*healthy > len(voters) && len(members) > p.cfg.Least:
		return Change{Remove: dead[0]} // the spare follows, since the number is even then
	default:
		return Change{}
	}
}

// note keeps since when each member is connected or away.
func (p *Pilot) note(now time.Time, members []quorum.Member) {
	for _, m := range members {
		if _, known := p.since[m.ID]; !known || p.was[m.ID] != m.Connected {
			p.since[m.ID], p.was[m.ID] = now, m.Connected
		}
	}
	for id := range p.since {
		if !slices.ContainsFunc(members, func(m quorum.Member) bool { return m.ID == id }) {
			delete(p.since, id)
			delete(p.was, id)
		}
	}
}
