package cluster_test

import (
	"os"
	"strconv"
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
	for seed := range schedules(200) {
		if err := sim.Run(schedule(uint64(seed+1), 3)); err != nil {
			t.Error(err)
		}
	}
	for seed := range schedules(200) / 5 {
		if err := sim.Run(schedule(uint64(seed+1), 5)); err != nil {
			t.Errorf("five servers: %v", err)
		}
	}
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
