//go:build linux

// Package storm proves what a cluster promises: real servers in network namespaces, under
// load, while they are killed and stopped and the network between them breaks.
package storm

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

func TestMain(m *testing.M) { program.Main(m) }

var (
	// patient are the bounds where the machine may be busy: they show what never comes.
	patient = bounds{network: time.Minute, restart: time.Minute, agents: time.Minute, held: time.Minute, store: time.Minute, clean: 2 * time.Minute}
	// promised are the bounds of a machine that has nothing else to do.
	promised = bounds{network: 2 * time.Second, restart: 10 * time.Second, agents: 10 * time.Second, held: 17 * time.Second, store: 15 * time.Second, clean: 5 * ttl}
)

// lasts is how long a fault lasts: owners that are not heard meanwhile are lost, after 2 s,
// a grace of a TTL, and what is left.
const lasts = 2 * ttl

// The worst faults, one at a time.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("a storm takes minutes")
	}
	s := begin(t, options{servers: 3})
	r := random(t)
	for _, name := range []string{"kill the leader", "cut another off", "stop another", "kill all"} {
		s.play(named(t, name), r, patient)
	}
}

// The worst faults of agents, one at a time.
func TestAgentsInAStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("a storm takes a minute")
	}
	s := begin(t, options{servers: 3, agents: 3})
	r := random(t)
	for _, name := range []string{"agents crash", "all servers are down"} {
		s.play(named(t, name), r, patient)
	}
}

// All faults alone, then schedules of several at random, for STORM_MINUTES. STORM_SERVERS
// is the number of servers, STORM_FAULT a part of the names of the only faults, and
// STORM_SEED that of the only schedule.
func TestAllStorms(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("STORM_MINUTES"), 64)
	if err != nil {
		t.Skip("STORM_MINUTES does not say for how long; see make storm")
	}
	sizes := []int{3, 5}
	if n, err := strconv.Atoi(os.Getenv("STORM_SERVERS")); err == nil {
		sizes = []int{n}
	}
	share := time.Duration(minutes * float64(time.Minute) / float64(len(sizes)))
	for _, size := range sizes {
		t.Run(fmt.Sprint(size, " servers"), func(t *testing.T) {
			s := begin(t, options{servers: size, agents: 4, clocks: os.Getenv(program.EnvBinary) == "", disks: true})
			end := time.Now().Add(share)
			s.all(end)
		})
	}
}

// all plays faults until that time.
func (s *storm) all(end time.Time) {
	only, seed := os.Getenv("STORM_FAULT"), os.Getenv("STORM_SEED")
	r := random(s.t)
	for _, f := range faults {
		if s.can(f) && seed == "" && strings.Contains(f.name, only) {
			s.play(f, r, promised)
		}
	}
	switch {
	case seed != "":
		n, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			s.t.Fatalf("STORM_SEED: %v", err)
		}
		s.schedule(n, promised)
	case only == "":
		for time.Now().Before(end) {
			s.schedule(rand.Uint64(), promised)
		}
	}
}

// random is the source of the choices that single faults have.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("STORM_CHOICES"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("STORM_CHOICES=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func named(t testing.TB, name string) fault {
	t.Helper()
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("there is no fault %q", name)
	}
	return faults[i]
}

// can reports whether this cluster can have a fault.
func (s *storm) can(f fault) bool {
	return len(s.servers) >= f.servers && (len(s.agents) > 0 || !f.agents) && (s.stepped != nil || !f.clocks) && (s.disks || !f.disks)
}

// play runs one fault under load, and judges.
func (s *storm) play(f fault, r *rand.Rand, b bounds) {
	s.t.Helper()
	d := lasts
	if f.lasts != nil {
		d = f.lasts()
	}
	l := s.load(!f.keyless && d < time.Minute)
	rest(s.ctx, 2*time.Second)
	end := f.begin(s, r)
	rest(s.ctx, d)
	l.calm()
	end()
	s.judge(f.name, l, time.Now(), f.restart, b)
	s.setBack()
}

// event is a fault of a schedule.
type event struct {
	fault    fault
	from, to time.Duration
}

// plan makes a schedule of two to four faults, that overlap.
func (s *storm) plan(r *rand.Rand) (out []event) {
	possible := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !s.can(f) || f.alone })
	for range 2 + r.IntN(3) {
		from := time.Duration(r.Int64N(int64(lasts)))
		out = append(out, event{possible[r.IntN(len(possible))], from, from + time.Second + time.Duration(r.Int64N(int64(lasts)))})
	}
	slices.SortFunc(out, func(a, b event) int { return cmp.Compare(a.from, b.from) })
	return out
}

// schedule plays the random faults of a seed under load, and judges. What a fault does
// depends on the seed, and on the leader at its beginning.
func (s *storm) schedule(seed uint64, b bounds) {
	s.t.Helper()
	r := rand.New(rand.NewPCG(seed, seed))
	events := s.plan(r)
	var names []string
	for _, e := range events {
		names = append(names, fmt.Sprintf("%s (%.1f–%.1f s)", e.fault.name, e.from.Seconds(), e.to.Seconds()))
	}
	name := fmt.Sprintf("STORM_SERVERS=%d STORM_SEED=%d", len(s.servers), seed)
	s.tell("%s: %s", name, strings.Join(names, ", "))
	l := s.load(true)
	rest(s.ctx, 2*time.Second)
	began := time.Now()
	var going sync.WaitGroup
	restart := false
	for i, e := range events {
		own := rand.New(rand.NewPCG(seed, uint64(i)))
		restart = restart || e.fault.restart
		going.Go(func() {
			rest(s.ctx, time.Until(began.Add(e.from)))
			end := e.fault.begin(s, own)
			rest(s.ctx, time.Until(began.Add(e.to)))
			l.calm()
			end()
		})
	}
	going.Wait()
	s.judge(name, l, time.Now(), restart, b)
	s.setBack()
}
