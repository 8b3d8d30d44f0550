package cluster_test

import (
	"encoding/json"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/sim"
)

// schedules returns the number of seeded schedules that a test plays: usual, unless
// SKERRY_SCHEDULES is set.
func schedules(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("SKERRY_SCHEDULES")); err == nil {
		return n
	}
	return usual
}

func TestSimulationFormsOneCluster(t *testing.T) {
	slow(t)
	for seed := range schedules(300) {
		if err := sim.RunBoot(sim.BootConfig{Seed: uint64(seed + 1), Servers: 5, Expect: 3, Faults: time.Minute}); err != nil {
			t.Error(err)
		}
	}
}

// The simulation finds two clusters when a server accepts more than one list, and when a
// majority of acceptances starts one.
func TestSimulationNeedsTheRulesOfForming(t *testing.T) {
	slow(t)
	for name, broken := range map[string]func(cluster.ServerID, string, int, cluster.Kept, time.Time) *cluster.Boot{
		"accept more than once": cluster.NewBootAcceptingAgain, "start at a majority": cluster.NewBootStartingEarly,
	} {
		found := false
		for seed := range 3000 {
			if err := sim.RunBoot(sim.BootConfig{Seed: uint64(seed + 1), Servers: 5, Expect: 3, Faults: time.Minute, New: broken}); err != nil {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%s: no schedule fails", name)
		}
	}
}

func TestARoundIsAKeyOfJSON(t *testing.T) {
	kept := map[cluster.Round]bool{{Proposer: "a/b", N: 7}: true, {Proposer: "", N: 1}: true}
	text, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	var got map[cluster.Round]bool
	if err := json.Unmarshal(text, &got); err != nil || !maps.Equal(got, kept) {
		t.Errorf("%s is read as %v, %v", text, got, err)
	}
	if err := json.Unmarshal([]byte(`{"a":true}`), &got); err == nil {
		t.Error("a round without a number is read")
	}
}
