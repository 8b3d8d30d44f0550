package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// Five servers that expect three are started at random moments, and some are killed while
// they form: there is one cluster in the end, of all five. SKERRY_BOOTSTRAPS is the number of
// times.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	times := 1
	if n, err := strconv.Atoi(os.Getenv("SKERRY_BOOTSTRAPS")); err == nil {
		times = n
	}
	began := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SKERRY_SEED"), 10, 64); err == nil {
		began = n
	}
	for i := range times {
		seed := began + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel() // they wait most of the time
			bootstrap(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// bootstrap starts and kills servers for some seconds.
func bootstrap(t *testing.T, r *rand.Rand) {
	const n = 5
	type event struct {
		at     time.Duration
		server int
	}
	var events []event // the first of a server starts it; each further one kills it and starts it again
	for i := range n {
		at := time.Duration(r.Int64N(int64(3 * time.Second)))
		for events = append(events, event{at, i}); r.IntN(2) == 0; events = append(events, event{at, i}) {
			at += time.Duration(r.Int64N(int64(3 * time.Second)))
		}
	}
	var at []string
	var ports []int
	for range n {
		ports = append(ports, program.Port(t))
		at = append(at, local(ports[len(ports)-1]))
	}
	all := make([]*agent, n)
	for began := time.Now(); len(events) > 0; {
		next := 0
		for i := range events {
			if events[i].at < events[next].at {
				next = i
			}
		}
		e := events[next]
		events = append(events[:next], events[next+1:]...)
		time.Sleep(time.Until(began.Add(e.at)))
		if a := all[e.server]; a != nil {
			t.Logf("%v: s%d is killed", e.at.Round(time.Millisecond), e.server+1)
			a.kill()
			a.run()
			continue
		}
		t.Logf("%v: s%d is started", e.at.Round(time.Millisecond), e.server+1)
		all[e.server] = start(t, server(e.server+1, 3, ports[e.server], at))
	}
	formed := map[string]bool{}
	for i, a := range all {
		a.leads()
		if _, err := a.client().KV().Put(&api.KVPair{Key: fmt.Sprint("from/", i), Value: []byte("1")}, nil); err != nil {
			t.Errorf("a write at s%d: %v", i+1, err)
		}
		formed[a.formed()] = true
	}
	if len(formed) != 1 {
		t.Errorf("several clusters: %v", formed)
	}
	for i, a := range all {
		if pairs, _, err := a.client().KV().List("from/", &api.QueryOptions{RequireConsistent: true}); err != nil || len(pairs) != n {
			t.Errorf("s%d has %d of the keys, %v", i+1, len(pairs), err)
		}
	}
	for _, a := range all {
		a.voters(n)
	}
}

// formed returns the round in which a server's cluster was formed.
func (a *agent) formed() string {
	a.t.Helper()
	var kept struct{ Started struct{ Round string } }
	text, err := os.ReadFile(filepath.Join(filepath.Dir(a.store()), "server", "forming.json"))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		a.t.Error(err)
	}
	return kept.Started.Round
}
