package propagation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// world is a meter at the server s1 and its clock.
type world struct {
	*testing.T
	*Meter
	now time.Time
}

func newWorld(t *testing.T) *world {
	return &world{t, New("s1", prometheus.NewRegistry()), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
}

// pass lets time pass with ticks.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(100*time.Millisecond, end.Sub(w.now)))
		w.Tick(w.now)
	}
}

func (w *world) begin(service string) uint64 { return w.Begin(w.now, service, []string{"s2", "s3"}) }

func (w *world) server(name string) ServerReport {
	w.Helper()
	for _, s := range w.Report(w.now).Servers {
		if s.Server == name {
			return s
		}
	}
	w.Fatalf("no figures of %s", name)
	return ServerReport{}
}

func TestChangesAreTimedUntilTheyAreAcknowledged(t *testing.T) {
	w := newWorld(t)
	for n := range 100 {
		id := w.begin("Web")
		w.pass(2 * time.Millisecond)
		w.Arrived(w.now, id, "s2")
		w.Arrived(w.now, id, "s2") // once counts
		w.Arrived(w.now, id, "s9") // it was not asked
		w.AtAgents(w.now, id, "s3", map[string]time.Duration{"early": 0}, nil)
		if n >= 97 {
			w.pass(40 * time.Millisecond)
		}
		w.Arrived(w.now, id, "s3")
		w.AtAgents(w.now, id, "s2", map[string]time.Duration{"web1": 3 * time.Millisecond}, nil)
		w.pass(time.Second)
	}
	if got := w.server("s2"); got != (ServerReport{"s2", Quantiles{2, 2, 100}, 0}) {
		t.Errorf("s2: %+v", got)
	}
	if got := w.server("s3"); got != (ServerReport{"s3", Quantiles{2, 42, 100}, 0}) {
		t.Errorf("s3: %+v", got)
	}
	r := w.Report(w.now)
	if r.Agents.Quantiles != (Quantiles{5, 5, 100}) || len(r.Agents.Late) > 0 {
		t.Errorf("agents: %+v", r.Agents)
	}
	if len(r.Services) != 1 || r.Services[0] != (ServiceReport{"web", Quantiles{2, 42, 200}, Quantiles{5, 5, 100}}) {
		t.Errorf("services: %+v", r.Services)
	}
	w.pass(Window)
	if r := w.Report(w.now); len(r.Services) != 0 || len(r.Servers) != 0 || r.Agents.Changes != 0 {
		t.Errorf("after the window: %+v", r)
	}
}

// A server that acknowledges nothing is named, and its quantiles grow while it is silent.
func TestASilentServerIsNamed(t *testing.T) {
	w := newWorld(t)
	for range 24 {
		id := w.begin("")
		w.Arrived(w.now, id, "s2")
		w.pass(5 * time.Second)
	}
	silent, other := w.server("s3"), w.server("s2")
	if silent.Waiting != 120_000 || silent.P99 != 60_000 || silent.P50 < 30_000 {
		t.Errorf("the silent one: %+v", silent)
	}
	if other.Waiting != 0 || other.P99 != 0 {
		t.Errorf("the other: %+v", other)
	}
	id := w.begin("")
	w.begin("")
	w.pass(3 * time.Second)
	w.Arrived(w.now, id, "s3")
	if got := w.server("s3").Waiting; got != 3000 {
		t.Errorf("after one acknowledgement it waits %v ms: want the age of the one change after it, 3 s", got)
	}
}

// Time in which this process was stopped counts for no other.
func TestStallsOfThisProcessDoNotCount(t *testing.T) {
	w := newWorld(t)
	w.Tick(w.now)
	id := w.begin("")
	w.now = w.now.Add(time.Minute)
	w.Arrived(w.now, id, "s2")
	if got := w.server("s2"); got.P99 != 100 {
		t.Errorf("after a stall: %+v, want the 100 ms between two ticks", got)
	}
}

func TestLateAgentsAreNamedUntilTheyAnswer(t *testing.T) {
	w := newWorld(t)
	id := w.begin("")
	w.Arrived(w.now, id, "s2")
	w.pass(5 * time.Second)
	w.AtAgents(w.now, id, "s2", nil, []string{"web2"})
	w.AtAgents(w.now, id, "s1", map[string]time.Duration{"own": time.Millisecond}, nil)
	if r := w.Report(w.now).Agents; fmt.Sprint(r.Late) != "[web2]" || r.P99 != 5000 || r.P50 != 1 {
		t.Errorf("%+v", r)
	}
	w.AtAgents(w.now, id, "s2", map[string]time.Duration{"web2": time.Millisecond}, nil)
	if r := w.Report(w.now).Agents; len(r.Late) > 0 {
		t.Errorf("it answered: %+v", r)
	}
}

// However many services change, the number of series is bounded, and a service that changes no more gives its place up.
func TestServicesAreBounded(t *testing.T) {
	w := newWorld(t)
	change := func(n int) {
		id := w.begin(fmt.Sprint("service-", n))
		w.Arrived(w.now, id, "s2")
	}
	for n := range 200 {
		change(n)
	}
	r := w.Report(w.now)
	if len(r.Services) != maxServices || r.Other.Servers.Changes != 200-maxServices {
		t.Errorf("%d services and %d other changes", len(r.Services), r.Other.Servers.Changes)
	}
	if n := testutil.CollectAndCount(w.metrics.services); n > 2*(maxServices+1) {
		t.Errorf("%d series", n)
	}
	w.pass(Window + giveUp) // s3 acknowledged nothing
	change(1000)
	if r := w.Report(w.now); len(r.Services) != 1 || r.Services[0].Service != "service-1000" {
		t.Errorf("after the window: %+v", r.Services)
	}
	if n := testutil.CollectAndCount(w.metrics.services); n > 4 {
		t.Errorf("%d series after the window", n)
	}
}

// A busy server measures two changes of services in a second.
func TestSamples(t *testing.T) {
	w := newWorld(t)
	measured := 0
	for range 10_000 {
		if w.Samples(w.now) {
			measured++
			w.begin("web")
		}
		w.pass(time.Millisecond)
	}
	if measured != 20 {
		t.Errorf("%d of 10,000 changes in 10 s are measured, want 20", measured)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New("s1", reg)
	m.Arrived(time.Now(), m.Begin(time.Now(), "web", []string{"s2"}), "s2")
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader("# HELP skerry_propagation_waiting_seconds For how long another server has not acknowledged a change that was made at this one; 0: it has all.\n# TYPE skerry_propagation_waiting_seconds gauge\nskerry_propagation_waiting_seconds{server=\"s2\"} 0\n"), "skerry_propagation_waiting_seconds"); err != nil {
		t.Error(err)
	}
}
