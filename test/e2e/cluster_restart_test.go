package e2e

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// All servers are stopped in order and started again, one after another, under load: no
// look-up fails at those that are up, and no write is lost.
func TestARollingRestartUnderLoad(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	agree(t, all, 3, "s1", "s2", "s3")
	// Each server but the one that restarts has a caller of each kind. up is held to read
	// while a request is under way, so that a server stops between two.
	up := make([]sync.RWMutex, 3)
	var stop atomic.Bool
	var made, looked, registered atomic.Int64
	for _, a := range all {
		a.register(`{"ID": "kept", "Name": "web", "Port": 80}`)
	}
	for _, a := range all {
		a.finds("web", "kept", "kept", "kept")
	}
	var work sync.WaitGroup
	counters := make([]*counter, 3)
	for i, a := range all {
		counters[i] = &counter{client: a.client(), key: fmt.Sprint("count/", i)}
		again := func(do func() error, what string, n *atomic.Int64) {
			work.Go(func() {
				for !stop.Load() {
					up[i].RLock()
					began := time.Now()
					err := do()
					up[i].RUnlock()
					if took := time.Since(began); err != nil && n == &made && took >= gaveUp {
						t.Logf("the machine is busy: a write at s%d was given up after %v: %v", i+1, took, err)
						continue
					} else if err != nil {
						t.Errorf("%s at s%d after %v: %v", what, i+1, took, err)
						return
					}
					n.Add(1)
					time.Sleep(time.Millisecond) // the load
				}
			})
		}
		again(counters[i].add, "a write", &made)
		health := a.client().Health()
		again(func() error {
			entries, _, err := health.Service("web", "", true, nil)
			// The one of the server that restarts may be gone.
			if err == nil && len(entries) < 2 {
				err = fmt.Errorf("%d instances", len(entries))
			}
			return err
		}, "a look-up", &looked)
		local := a.client().Agent()
		n := 0
		again(func() error {
			n++
			return local.ServiceRegister(&api.AgentServiceRegistration{ID: "moving", Name: fmt.Sprint("moving-", i), Port: 1 + n%60000})
		}, "a registration", &registered)
	}
	grows := func(n *atomic.Int64) {
		t.Helper()
		before := n.Load()
		awaitFor(t, 2*patience, "the load goes on", func() error { return atLeast(n, before+20) })
	}
	for i, a := range all {
		for _, n := range []*atomic.Int64{&made, &looked, &registered} {
			grows(n)
		}
		up[i].Lock()
		a.stop()
		for _, n := range []*atomic.Int64{&made, &looked, &registered} {
			grows(n)
		}
		a.run()
		a.leads()
		a.finds("web", "kept", "kept", "kept")
		up[i].Unlock()
		agree(t, all, 3, "s1", "s2", "s3")
	}
	stop.Store(true)
	work.Wait()
	for i, c := range counters {
		for _, a := range all {
			pair, _, err := a.client().KV().Get(c.key, &api.QueryOptions{RequireConsistent: true})
			if err == nil && c.unsure && pair != nil && string(pair.Value) == strconv.FormatInt(c.n+1, 10) {
				c.n, c.unsure = c.n+1, false // the last was given up, and made
			}
			if err != nil || pair == nil || string(pair.Value) != strconv.FormatInt(c.n, 10) {
				t.Errorf("%d writes through s%d: %s has %v, %v", c.n, i+1, a.http, pair, err)
			}
			a.finds(fmt.Sprint("moving-", i), "moving")
		}
	}
	t.Logf("%d writes, %d look-ups, %d registrations", made.Load(), looked.Load(), registered.Load())
}
