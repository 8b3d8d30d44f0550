package registry_test

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/propagation"
)

func (w *world) canary(at int) {
	w.servers[at].Canary(true)
	w.pump()
}

func (w *world) reports(at int, want ...propagation.ServerReport) {
	w.Helper()
	got := w.servers[at].meter.Report(w.now).Servers
	if len(got) != len(want) {
		w.Fatalf("server %d reports %+v", at, got)
	}
	for i := range want {
		if got[i].Server != want[i].Server || got[i].Changes != want[i].Changes || got[i].Waiting != want[i].Waiting {
			w.Errorf("server %d reports %+v, want %+v", at, got[i], want[i])
		}
	}
}

func report(server string, changes int, waiting time.Duration) propagation.ServerReport {
	return propagation.ServerReport{Server: server, Quantiles: propagation.Quantiles{Changes: changes}, Waiting: float64(waiting.Milliseconds())}
}

// A canary is registered and withdrawn at all servers, in no catalog. A server that is cut off is named, and
// acknowledges what it missed once it comes back.
func TestCanaries(t *testing.T) {
	w := newWorld(t)
	before := w.servers[1].table.Index()
	for range 4 {
		w.canary(0)
		w.pass(time.Second)
	}
	w.reports(0, report("s2", 4, 0), report("s3", 4, 0))
	w.reports(1)
	for _, s := range w.servers {
		if n := len(s.table.Nodes()); n != 0 {
			t.Errorf("%s shows %d nodes", s.id, n)
		}
	}
	if now := w.servers[1].table.Index(); now != before {
		t.Errorf("canaries moved the index from %d to %d", before, now)
	}
	w.part(2)
	w.canary(0)
	w.pass(time.Second)
	w.canary(0)
	w.pass(3 * time.Second)
	w.reports(0, report("s2", 6, 0), report("s3", 6, 4*time.Second)) // of which two are open
	w.heal()
	w.pass(5 * time.Second)
	w.reports(0, report("s2", 6, 0), report("s3", 6, 9*time.Second)) // the questions are lost
	w.canary(0)
	w.reports(0, report("s2", 7, 0), report("s3", 7, 0))
	if got := w.servers[0].meter.Report(w.now).Servers[1].P99; got != 9000 {
		t.Errorf("the change that waited longest counts as %v ms, want 9 s", got)
	}
}

// A version that comes later than the question is acknowledged when it comes, by whatever way.
func TestATraceWaitsForItsVersion(t *testing.T) {
	w := newWorld(t)
	w.servers[0].Canary(true)
	w.servers[0].Flush()
	w.frames = w.frames[1:] // the log's frame for s2 is lost
	w.pump()
	w.reports(0, report("s2", 0, 0), report("s3", 1, 0))
	w.pass(2 * time.Second)
	w.reports(0, report("s2", 1, 0), report("s3", 1, 0))
}

// Changes of services are timed where they were made, and name the service.
func TestChangesOfServicesAreTimed(t *testing.T) {
	w := newWorld(t)
	w.servers[0].agents = func(service string, report func(map[string]time.Duration, []string)) {
		if service == "web" {
			report(map[string]time.Duration{"web1": time.Millisecond}, []string{"web2"})
		}
	}
	for n := range 3 {
		w.announce(0, lease("a", uint64(n+1)))
		w.pass(time.Second)
	}
	w.servers[0].Withdraw("lease/a", skerry.Version{Epoch: 1, Seq: 9})
	w.pass(time.Second)
	r := w.servers[0].meter.Report(w.now)
	if len(r.Services) != 1 || r.Services[0].Service != "web" || r.Services[0].Servers.Changes != 8 || r.Services[0].Agents.Changes != 4 {
		t.Errorf("%+v", r.Services)
	}
	if len(r.Agents.Late) != 1 || r.Agents.Changes != 8 {
		t.Errorf("%+v", r.Agents)
	}
	if r := w.servers[1].meter.Report(w.now); len(r.Services) != 0 {
		t.Errorf("a server that only heard of it reports %+v", r)
	}
}
