package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// kills is how often a test kills the agent; `make test-kill` wants 100.
func kills(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("SKERRY_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SKERRY_KILLS: %v", err)
		}
		return n
	}
	return 5
}

// ledger is what writers know to be true: the outcome of each acknowledged
// write. A write under way when the agent died may count or not.
type ledger struct {
	mu    sync.Mutex
	ports map[string]int  // by service ID, of what is registered
	open  map[string]bool // IDs whose last write was not acknowledged
}

// Killed at random moments under load, the agent has every acknowledged
// registration after the restart, with its id and its check's state.
func TestKill(t *testing.T) {
	a := start(t, map[string]any{"log_level": "warn"})
	known := &ledger{ports: map[string]int{}, open: map[string]bool{}}
	const steady = "steady"
	a.register(`{"ID": "steady", "Name": "steady", "Check": {"CheckID": "steady", "TTL": "1h"}}`)
	a.ok("PUT", "/v1/agent/check/pass/steady?note=kept", "")
	acknowledged := 0
	for round := range kills(t) {
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for w := range 8 {
			writers.Go(func() { known.write(a.http, round, w, stop) })
		}
		lifetime := time.NewTimer(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		<-lifetime.C
		a.kill()
		close(stop)
		writers.Wait()
		a.run()
		acknowledged = len(known.ports)
		known.verify(t, a, round)
		found, _, err := a.client().Health().Service(steady, "", true, nil)
		if err != nil || len(found) != 1 {
			t.Fatalf("round %d: the TTL check flapped: %d instances pass, %v", round, len(found), err)
		}
		if t.Failed() {
			return
		}
	}
	if acknowledged < 8*kills(t) {
		t.Errorf("only %d registrations were there at the end: that was no load", acknowledged)
	}
	t.Logf("%d kills, %d registrations at the end", kills(t), acknowledged)
}

// write registers, changes and withdraws services of its own until stopped or
// refused.
func (l *ledger) write(address string, round, writer int, stop <-chan struct{}) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("s-%d-%d-%d", round, writer, n)
		port := 1 + rand.IntN(60000)
		path, body, withdraw := "/v1/agent/service/register", fmt.Sprintf(
			`{"ID": %q, "Name": "load", "Port": %d, "Check": {"TTL": "1h", "Status": "passing"}}`, id, port), false
		if n > 2 && n%3 == 0 { // withdraws or changes an earlier one
			id = fmt.Sprintf("s-%d-%d-%d", round, writer, n-2)
			if withdraw = n%2 == 0; withdraw {
				path, body = "/v1/agent/service/deregister/"+id, ""
			} else {
				body = strings.Replace(body, fmt.Sprintf("s-%d-%d-%d", round, writer, n), id, 1)
			}
		}
		l.mu.Lock()
		l.open[id] = true
		l.mu.Unlock()
		r, err := tryRequest(c, "PUT", "http://"+address+path, body)
		if err != nil {
			return // the agent is gone
		}
		if r.status != http.StatusOK {
			continue // an earlier one of that id was not acknowledged
		}
		l.mu.Lock()
		delete(l.open, id)
		if withdraw {
			delete(l.ports, id)
		} else {
			l.ports[id] = port
		}
		l.mu.Unlock()
	}
}

// verify compares what is there with what was acknowledged, and takes over what
// was open.
func (l *ledger) verify(t *testing.T, a *agent, round int) {
	t.Helper()
	found, _, err := a.client().Health().Service("load", "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]*api.ServiceEntry{}
	for _, f := range found {
		there[f.Service.ID] = f
		if s := f.Checks.AggregatedStatus(); s != api.HealthPassing {
			t.Errorf("round %d: %s is %s after the restart", round, f.Service.ID, s)
		}
	}
	for id, port := range l.ports {
		if f := there[id]; f == nil && !l.open[id] {
			t.Errorf("round %d: %s was acknowledged and is lost", round, id)
		} else if f != nil && f.Service.Port != port && !l.open[id] {
			t.Errorf("round %d: %s has port %d, acknowledged was %d", round, id, f.Service.Port, port)
		}
	}
	for id := range there {
		if _, ok := l.ports[id]; !ok && !l.open[id] {
			t.Errorf("round %d: %s was withdrawn and is back", round, id)
		}
	}
	clear(l.open)
	clear(l.ports)
	for id, f := range there {
		l.ports[id] = f.Service.Port
	}
}
