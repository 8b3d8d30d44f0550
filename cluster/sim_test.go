package cluster_test

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/sim"
)

// within is how long after the last fault all servers show every living owner: 2 s, and a beat.
const within = 4 * time.Second

func schedule(seed uint64, servers int) sim.Config {
	return sim.Config{Seed: seed, Servers: servers, Owners: 9, Faults: 150 * time.Second, Within: within}
}

// SKERRY_SEED replays one schedule, of three servers or of SKERRY_SERVERS, with what happens
// in it, and all of the owner SKERRY_OWNER.
func TestSimulation(t *testing.T) {
	if seed, err := strconv.ParseUint(os.Getenv("SKERRY_SEED"), 10, 64); err == nil {
		servers, err := strconv.Atoi(os.Getenv("SKERRY_SERVERS"))
		if err != nil {
			servers = 3
		}
		cfg := schedule(seed, servers)
		cfg.Trace, cfg.Follow = t.Logf, skerry.OwnerID(os.Getenv("SKERRY_OWNER"))
		if err := sim.Run(cfg); err != nil {
			t.Error(err)
		}
		return
	}
	slow(t)
	play(t, schedules(2000), 3)
	play(t, schedules(2000)/10, 5)
}

// play plays schedules of so many servers, on all processors.
func play(t *testing.T, n, servers int) {
	before := first(t)
	var next atomic.Uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed := next.Add(1); seed <= uint64(n); seed = next.Add(1) {
				if err := sim.Run(schedule(before+seed, servers)); err != nil {
					t.Errorf("%d servers: %v", servers, err)
				}
			}
		})
	}
	all.Wait()
}

// first is the seed before the first one: SKERRY_FIRST, else 0.
func first(t *testing.T) uint64 {
	text := os.Getenv("SKERRY_FIRST")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Errorf("SKERRY_FIRST: %v", err)
	}
	return n
}

// The simulation needs the rules: without one of them a schedule fails that passes with it.
func TestSimulationNeedsTheRules(t *testing.T) {
	slow(t)
	for name, broken := range cluster.Mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range 1000 {
				cfg := schedule(uint64(seed+1), 3)
				cfg.New = broken
				if err := sim.Run(cfg); err != nil && sim.Run(schedule(uint64(seed+1), 3)) == nil {
					t.Log(err)
					return
				}
			}
			t.Error("no schedule fails")
		})
	}
}

// raceEnabled says that the tests were built with -race.
var raceEnabled bool

// slow skips a test where the race detector makes it slow and sees nothing: the core has no
// goroutine. `make test` plays it without.
func slow(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("the simulation runs without -race")
	}
}
