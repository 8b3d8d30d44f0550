package template

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
)

// step is an answer of the registry and what the guard lets through after it.
type step struct {
	after time.Duration
	n     int    // instances; -1: no answer, only time passes
	cause string // of an empty list from here on
	want  int    // instances that are rendered then; -1: none were
}

func TestGuard(t *testing.T) {
	const grace = 5 * time.Minute
	tests := []struct {
		name     string
		minimum  int
		rendered bool // there is a file from before
		grace    time.Duration
		steps    []step
	}{
		{"empty for a moment", 0, false, grace, []step{{0, 3, "", 3}, {time.Minute, 0, "expired", 3}, {time.Minute, 2, "", 2}, {time.Hour, -1, "", 2}}},
		{"empty for good", 0, false, grace, []step{{0, 3, "", 3}, {0, 0, "expired", 3}, {grace - time.Second, -1, "expired", 3}, {time.Second, -1, "expired", 0}}},
		{"withdrawn", 0, false, grace, []step{{0, 3, "", 3}, {0, 0, "deregistered", 0}}},
		{"withdrawn at last", 0, false, grace, []step{{0, 3, "", 3}, {0, 0, "guarded", 3}, {recheck, -1, "deregistered", 0}}},
		{"a registry that does not say", 0, false, grace, []step{{0, 3, "", 3}, {0, 0, "", 3}, {grace, -1, "", 0}}},
		{"empty stays empty", 0, false, grace, []step{{0, 3, "", 3}, {0, 0, "deregistered", 0}, {0, 0, "recovering", 0}}},
		{"empty at first", 0, false, grace, []step{{0, 0, "unknown", 0}}},
		{"empty at first, with a file", 0, true, grace, []step{{0, 0, "recovering", -1}, {grace, -1, "", 0}}},
		{"withdrawn at first, with a file", 0, true, grace, []step{{0, 0, "deregistered", 0}}},
		{"short and not empty", 0, false, grace, []step{{0, 3, "", 3}, {0, 1, "", 1}}},
		{"below the minimum", 2, false, grace, []step{{0, 3, "", 3}, {0, 1, "", 3}, {0, 2, "", 2}, {0, 1, "", 2}, {grace, -1, "", 1}}},
		{"below the minimum, on its way up", 3, false, grace, []step{{0, 1, "", -1}, {grace, -1, "", 1}, {0, 2, "", 2}, {0, 1, "", 2}}},
		{"the hold begins once", 2, false, grace, []step{{0, 3, "", 3}, {0, 1, "", 3}, {4 * time.Minute, 0, "expired", 3}, {time.Minute, -1, "expired", 0}}},
		{"off", 2, true, 0, []step{{0, 3, "", 3}, {0, 0, "expired", 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cause, shown := "", -1
				g := newGuard(Options{
					MinInstances: tt.minimum, Grace: tt.grace, Log: slog.New(slog.DiscardHandler),
					Cause: func(_ context.Context, q Query) string {
						if q != (Query{Service: "web", Tag: "blue"}) {
							t.Errorf("the cause of %+v is asked for", q)
						}
						return cause
					},
				})
				d, err := dep.NewHealthServiceQuery("blue.web")
				if err != nil {
					t.Fatal(err)
				}
				for i, s := range tt.steps {
					cause = s.cause
					for end := time.Now().Add(s.after); time.Now().Before(end); {
						select {
						case <-g.due():
						case <-time.After(time.Until(end)):
						}
						for _, h := range g.released(t.Context()) {
							shown = h.size
						}
					}
					if s.n >= 0 && g.admits(t.Context(), d, make([]*dep.HealthService, s.n), tt.rendered) {
						shown = s.n
					}
					if shown != s.want {
						t.Fatalf("step %d: %d instances are rendered, want %d", i, shown, s.want)
					}
				}
			})
		})
	}
}

// What is not a list that routes traffic passes, and what no template uses is
// forgotten.
func TestGuardKnowsItsLists(t *testing.T) {
	g := newGuard(Options{Grace: time.Hour, Log: slog.New(slog.DiscardHandler)})
	keys, err := dep.NewKVListQuery("app")
	if err != nil {
		t.Fatal(err)
	}
	if !g.admits(t.Context(), keys, []*dep.KeyPair{}, true) {
		t.Error("an empty list of keys is held: the store is asked by a quorum, and right")
	}
	nodes, err := dep.NewCatalogNodesQuery("")
	if err != nil {
		t.Fatal(err)
	}
	if g.admits(t.Context(), nodes, []*dep.Node{}, true) {
		t.Error("a registry without nodes is believed")
	}
	if g.forget(nodes.String()); g.due() != nil {
		t.Error("a list that no template uses is still held")
	}
}

func TestServiceName(t *testing.T) {
	for query, want := range map[string]Query{
		"web": {"web", "", ""}, "blue.web@dc2~_agent|passing,warning": {"web", "blue", "dc2"}, "v1.2.web|any": {"web", "v1.2", ""}, "web@dc2": {"web", "", "dc2"},
	} {
		d, err := dep.NewHealthServiceQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := service(d); got != want || !ok {
			t.Errorf("%s: %+v, want %+v", d, got, want)
		}
	}
	connect, err := dep.NewHealthConnectQuery("web")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := service(connect); ok {
		t.Errorf("%s is taken for the service %+v", connect, got)
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]string{
		"a:b": "a|b|", "a:b:c": "a|b|c", "a:b:echo c:d": "a|b|echo c:d", "a": "", "": "", ":b": "", "a::c": "",
	} {
		f, err := ParseFile(s)
		if got := strings.Join([]string{f.Source, f.Dest, f.Command}, "|"); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"2s": "2s 8s", "2s:3s": "2s 3s", "0s": "0s 0s", "3s:2s": "", "": "", "x": "", "2s:": "", "-1s:2s": "",
	} {
		w, err := ParseWait(s)
		if got := fmt.Sprint(w.Min, " ", w.Max); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
}
