//go:build linux

package storm

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// fault is something that breaks. It begins and returns its end.
type fault struct {
	name    string
	servers int  // the fewest servers that it needs; 0: any
	agents  bool // it needs agents
	restart bool // processes start again at its end
	clocks  bool // it needs clocks that can be stepped
	disks   bool // it needs small disks
	begin   func(s *storm, r *rand.Rand) (end func())
	alone   bool // it goes with no other
	// keyless: alone it is played without clients of keys, since there would be too many calls whose outcome is not known.
	keyless bool
	// lasts is how long it lasts where it is alone; nil: as long as most.
	lasts func() time.Duration
}

// faults are all that a storm has.
var faults = append(agentFaults, []fault{
	{name: "kill the leader", restart: true, begin: func(s *storm, _ *rand.Rand) func() { return s.kill(s.leader()) }},
	{name: "kill another", restart: true, begin: func(s *storm, r *rand.Rand) func() { return s.kill(s.another(r)) }},
	{name: "stop the leader", begin: func(s *storm, _ *rand.Rand) func() { return s.stop(s.leader()) }},
	{name: "stop another", begin: func(s *storm, r *rand.Rand) func() { return s.stop(s.another(r)) }},
	{name: "cut the leader off", begin: func(s *storm, _ *rand.Rand) func() { return s.split([]int{s.leader()}) }},
	{name: "cut another off", begin: func(s *storm, r *rand.Rand) func() { return s.split([]int{s.another(r)}) }},
	{name: "split", servers: 5, begin: func(s *storm, r *rand.Rand) func() { return s.split(r.Perm(5)[:2]) }},
	{name: "cut a pair", begin: func(s *storm, r *rand.Rand) func() {
		p := r.Perm(len(s.servers))
		return s.cut(pair{p[0], p[1]}, pair{p[1], p[0]})
	}},
	{name: "cut one way", begin: func(s *storm, r *rand.Rand) func() {
		p := r.Perm(len(s.servers))
		return s.cut(pair{p[0], p[1]})
	}},
	{name: "nothing leaves a server", begin: func(s *storm, r *rand.Rand) func() {
		from := r.IntN(len(s.servers))
		var ways []pair
		for to := range s.servers {
			if to != from {
				ways = append(ways, pair{from, to})
			}
		}
		return s.cut(ways...)
	}},
	{name: "a slow link", begin: func(s *storm, r *rand.Rand) func() { return s.slow(r.IntN(len(s.servers)), "1mbit") }},
	{name: "kill all", restart: true, begin: func(s *storm, _ *rand.Rand) func() {
		var ends []func()
		for n := range s.servers {
			ends = append(ends, s.kill(n))
		}
		return func() { together(ends) }
	}},
	{name: "fill a disk", disks: true, begin: func(s *storm, r *rand.Rand) func() { return s.fill(r.IntN(len(s.servers))) }},
	{name: "step the clocks", clocks: true, begin: func(s *storm, r *rand.Rand) func() {
		if !s.take(allClocks) {
			return nothing
		}
		var ends []func()
		for n := range s.servers {
			ends = append(ends, s.step(n, offsets[r.IntN(len(offsets))]))
		}
		return func() {
			together(ends)
			s.giveBack(allClocks)
		}
	}},
	{name: "step a clock and kill", clocks: true, restart: true, begin: func(s *storm, r *rand.Rand) func() {
		n := r.IntN(len(s.servers))
		if !s.take(allClocks) {
			return nothing
		}
		defer s.giveBack(allClocks)
		s.set(n, offsets[r.IntN(len(offsets))])
		s.kill(n)()
		return nothing // the cluster has to become whole with that clock
	}},
}...)

// offsets are how far clocks are stepped.
var offsets = []time.Duration{-24 * time.Hour, -time.Hour, -10 * time.Second, -time.Second, time.Second, 10 * time.Second, time.Hour, 24 * time.Hour}

// allClocks is taken by a fault that steps clocks, in place of a server.
const allClocks = -1

// take gives a server or an agent to a fault, if it is no other's.
func (s *storm) take(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken[n] {
		return false
	}
	s.broken[n] = true
	return true
}

func (s *storm) giveBack(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.broken, n)
}

// nothing is the end of a fault that did not begin.
func nothing() {}

// together calls functions at the same time.
func together(fs []func()) {
	var all sync.WaitGroup
	for _, f := range fs {
		all.Go(f)
	}
	all.Wait()
}

// leader is the server that leads the quorum store, by the word of the others: it may have
// stopped itself. While there is none, it is the first.
func (s *storm) leader() (n int) {
	err := program.Await(5*time.Second, func() error {
		votes := make([]int, len(s.servers))
		for _, server := range s.servers {
			var at string
			if server.ask(s.ctx, "GET", "/v1/status/leader", nil, &at) != nil {
				continue
			}
			for i, one := range s.servers {
				if at != one.address+":8300" {
					continue
				}
				if votes[i]++; 2*votes[i] > len(s.servers) {
					n = i
					return nil
				}
			}
		}
		return errors.New("no majority names one leader")
	})
	if err != nil {
		s.tell("no leader: %v", err)
	}
	return n
}

// tell logs what happens, with the time.
func (s *storm) tell(format string, args ...any) {
	s.t.Helper()
	s.t.Logf(time.Now().Format(clock)+": "+format, args...)
}

// another is a server that does not lead.
func (s *storm) another(r *rand.Rand) int {
	n, leader := r.IntN(len(s.servers)-1), s.leader()
	if n >= leader {
		n++
	}
	return n
}

// kill ends the process of a host with -9. Its end is that the process starts again.
func (s *storm) kill(n int) (end func()) {
	if !s.take(n) {
		return nothing
	}
	p := s.process(n)
	s.tell("%s is killed", p.name())
	s.record.mark(time.Now(), func(e *era) { e.out[n]++ })
	p.kill()
	return func() {
		p.run()
		s.tell("%s runs again", p.name())
		s.record.mark(time.Now(), func(e *era) { e.out[n]-- })
		s.giveBack(n)
	}
}

// stop stops the process of a host with SIGSTOP. Its end is that the process goes on.
func (s *storm) stop(n int) (end func()) {
	if !s.take(n) {
		return nothing
	}
	p := s.process(n)
	s.tell("%s is stopped", p.name())
	s.record.mark(time.Now(), func(e *era) { e.out[n]++ })
	p.signal(syscall.SIGSTOP)
	return func() {
		p.signal(syscall.SIGCONT)
		s.tell("%s goes on", p.name())
		s.record.mark(time.Now(), func(e *era) { e.out[n]-- })
		s.giveBack(n)
	}
}

// cut loses what goes these ways.
func (s *storm) cut(ways ...pair) (end func()) {
	s.tell("cut %v", ways)
	s.record.mark(time.Now(), func(e *era) {
		for _, w := range ways {
			e.apart[w]++
		}
	})
	heal := s.lab.cut(ways...)
	return func() {
		heal()
		s.tell("healed %v", ways)
		s.record.mark(time.Now(), func(e *era) {
			for _, w := range ways {
				e.apart[w]--
			}
		})
	}
}

// split cuts some servers off from the others.
func (s *storm) split(some []int) (end func()) { return s.cut(between(len(s.servers), some)...) }

// between are the ways between some of n servers and the others.
func between(n int, some []int) (ways []pair) {
	for _, a := range some {
		for b := range n {
			if !slices.Contains(some, b) {
				ways = append(ways, pair{a, b}, pair{b, a})
			}
		}
	}
	return ways
}

// slow bounds what reaches a server.
func (s *storm) slow(n int, rate string) (end func()) {
	if !s.take(n) {
		return nothing
	}
	s.tell("s%d has %s", n+1, rate)
	s.record.mark(time.Now(), func(e *era) { e.slow[n]++ })
	heal := s.lab.slow(n, rate)
	return func() {
		heal()
		s.tell("s%d is quick again", n+1)
		s.record.mark(time.Now(), func(e *era) { e.slow[n]-- })
		s.giveBack(n)
	}
}

// fill leaves no room on a server's disk.
func (s *storm) fill(n int) (end func()) {
	if !s.take(n) {
		return nothing
	}
	ballast := filepath.Join(s.servers[n].dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		s.t.Fatal(err)
	}
	for chunk := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(chunk)
	}
	f.Close()
	s.tell("the disk of s%d is full: %v", n+1, err)
	return func() {
		if err := os.Remove(ballast); err != nil {
			s.t.Error(err)
		}
		s.tell("the disk of s%d has room again", n+1)
		s.giveBack(n)
	}
}
