package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// figure checks a metric of a server.
func (w *world) figure(at int, name, want string) {
	w.Helper()
	families, err := w.servers[at].figures.Gather()
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() != "skerry_cluster_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			one := fmt.Sprint(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			if len(m.GetLabel()) > 0 {
				one = m.GetLabel()[0].GetValue() + " " + one
			}
			got = append(got, one)
		}
	}
	if strings.Join(got, ", ") != want {
		w.Errorf("server %d: %s is %q, want %q", at, name, got, want)
	}
}

// The figures move with logs, verdicts, and a majority that is lost.
func TestFigures(t *testing.T) {
	w := newWorld(t)
	for _, s := range w.servers {
		if problems, err := testutil.GatherAndLint(s.figures); err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
	}
	w.announce(0, lease("a", 1))
	w.announce(2, lease("b", 1))
	w.pump()
	w.figure(0, "log_records", "1")
	w.figure(1, "log_behind_records", "s1 0, s3 0")
	w.figure(0, "frozen_owners", "0")
	w.part(2)
	w.pass(ttl)
	w.figure(2, "minority", "1")
	w.figure(2, "frozen_owners", "1")
	w.figure(2, "judged_total", "held 0, lost 0")
	w.figure(2, "servers", "3")
	w.figure(2, "servers_up", "1")
	w.pass(ttl)
	w.figure(0, "judged_total", "held 0, lost 2") // its own owner, and that of the server that is gone
	w.heal()
	w.pass(2 * ttl)
	w.shows("")
	w.figure(2, "minority", "0")
	w.figure(2, "log_behind_records", "s1 0, s2 0")
	w.figure(2, "frozen_owners", "0")
}
