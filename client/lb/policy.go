package lb

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is how one of the instances that take calls is chosen. All policies share the
// rest: instances that fail are taken out, probed, and let in again.
type Policy uint8

const (
	// P2C takes the cheaper of two random instances; the default.
	P2C Policy = iota
	// RoundRobin takes one after another, each as often as it weighs.
	RoundRobin
	// Hash takes the same instance for the same Request.Hash, as long as it has no
	// more than 1.25 of its share of the calls in flight (Mirrokni, Thorup and
	// Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016). It knows no zones,
	// subsets and slow start, in which callers would differ. Calls without a hash go
	// anywhere.
	Hash
	// Prequal asks random instances how many calls they have in flight and how long those
	// take, and takes the best of the last answers (Wydrowski et al., "Load is not what
	// you should balance: Introducing Prequal", NSDI 2024). The transport asks them: see
	// [Balancer.Ask].
	Prequal
)

var policies = [...]string{"p2c", "round_robin", "hash", "prequal"}

// String implements [fmt.Stringer].
func (p Policy) String() string { return policies[p] }

// ParsePolicy returns the policy of this name: p2c, round_robin, hash or prequal.
func ParsePolicy(name string) (Policy, error) {
	for p, n := range policies {
		if n == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("lb: there is no policy %q: want one of %s", name, strings.Join(policies[:], ", "))
}

// Hashes reports whether [Request.Hash] matters.
func (b *Balancer) Hashes() bool { return b.o.Policy == Hash }

// choose returns the member that takes the call; nil when there are none.
func (b *Balancer) choose(v *view, now time.Duration, r *Request) *member {
	if b.Hashes() && r.Hash != 0 {
		return v.ring.choose(r)
	}
	s := &v.near
	if len(v.far.members) > 0 && b.random() >= v.nearShare {
		s = &v.far
	}
	if r.Exclude != nil {
		left := v.without(*s, r.Exclude)
		s = &left
	}
	if len(s.members) == 0 {
		return nil
	}
	switch b.o.Policy {
	case RoundRobin:
		return b.next(s, now)
	case Prequal:
		if m := b.answers.best(s, now); m != nil {
			return m
		}
	}
	return b.cheapest(s, now)
}

// clear is how much cheaper another must be than the first that was drawn: similar ones
// take their share of the draws.
const clear = .9

// cheapest returns the cheapest of some random members.
func (b *Balancer) cheapest(s *set, now time.Duration) *member {
	var drawn [maxChoices]*member
	var best *member
	least := 0.
	for k := range min(b.o.Choices, len(s.members)) {
		m := b.draw(s, now, drawn[:k])
		drawn[k] = m
		if cost := m.stat.cost(now, m.weight); best == nil || cost < least*clear {
			best, least = m, cost
		}
	}
	return best
}

// redraws bounds how often an instance that is not ready yet is passed over.
const redraws = 4

// draw returns a random member that is not among those drawn. One that is only in
// part ready is passed over as often as it is not.
func (b *Balancer) draw(s *set, now time.Duration, drawn []*member) *member {
	for try := 0; ; try++ {
		at := s.draw(b.o.Random())
		m := s.members[at]
		for slices.Contains(drawn, m) { // a large weight may come again and again
			at = (at + 1) % len(s.members)
			m = s.members[at]
		}
		if try == redraws || b.passes(m, now) {
			return m
		}
	}
}

// passes reports whether the member takes a call that has come to it: one that is in
// part ready does so in part.
func (b *Balancer) passes(m *member, now time.Duration) bool {
	ready := m.ready(now)
	return ready == 1 || b.random() < ready
}

// golden spreads successive turns over the points of a line as evenly as can be.
const golden = 0x9e3779b97f4a7c15

// next returns the member whose turn it is.
func (b *Balancer) next(s *set, now time.Duration) *member {
	for try := 0; ; try++ {
		turn := b.turn.Add(1)
		at := int(turn % uint64(len(s.members)))
		if s.upTo != nil {
			at = s.draw(turn * golden)
		}
		if m := s.members[at]; try == redraws || b.passes(m, now) {
			return m
		}
	}
}
