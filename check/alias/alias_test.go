package alias

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

func TestWorst(t *testing.T) {
	c := func(name string, status skerry.Health, service, output string) *skerry.Check {
		return &skerry.Check{ID: name, Name: name, Status: status, ServiceID: service, Output: output}
	}
	node := c("disk", skerry.Passing, "", "")
	tests := []struct {
		name   string
		alias  string
		checks []*skerry.Check
		want   check.Result
	}{
		{"none", "web", nil, check.Result{Status: skerry.Passing, Output: "No checks found."}},
		{"only another's", "web", []*skerry.Check{c("db", skerry.Critical, "db", "")}, check.Result{Status: skerry.Passing, Output: "No checks found."}},
		{"all pass", "web", []*skerry.Check{node, c("a", skerry.Passing, "web", "")}, check.Result{Status: skerry.Passing, Output: "All checks passing."}},
		{"warns", "web", []*skerry.Check{c("a", skerry.Warning, "web", "slow"), c("b", skerry.Passing, "web", "")}, check.Result{Status: skerry.Warning, Output: `Aliased check "a" warning: slow`}},
		{"worst counts", "web", []*skerry.Check{c("a", skerry.Warning, "web", ""), c("b", skerry.Critical, "web", "down"), c("c", skerry.Critical, "web", "too")}, check.Result{Status: skerry.Critical, Output: `Aliased check "b" failing: down`}},
		{"foreign word", "web", []*skerry.Check{c("a", "maintenance", "web", "")}, check.Result{Status: skerry.Warning, Output: `Aliased check "a" warning: `}},
		{"the node's count", "web", []*skerry.Check{c("disk", skerry.Critical, "", "full"), c("a", skerry.Passing, "web", "")}, check.Result{Status: skerry.Critical, Output: `Aliased check "disk" failing: full`}},
		{"itself counts", "web", []*skerry.Check{c("alias2", skerry.Critical, "", ""), c("a", skerry.Passing, "web", "")}, check.Result{Status: skerry.Critical, Output: `Aliased check "alias2" failing: `}},
		{"of the node, not its instances'", "", []*skerry.Check{node, c("a", skerry.Critical, "web", "")}, check.Result{Status: skerry.Passing, Output: "All checks passing."}},
	}
	for _, tt := range tests {
		if got := worst(tt.checks, tt.alias); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// world is what a Lookup looks at.
type world struct {
	mu      sync.Mutex
	changed chan struct{}
	checks  []*skerry.Check
	known   bool
}

func (w *world) lookup(string, string) ([]*skerry.Check, <-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.checks, w.changed, w.known
}

func (w *world) set(known bool, checks ...*skerry.Check) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known, w.checks = known, checks
	close(w.changed)
	w.changed = make(chan struct{})
}

func TestFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{changed: make(chan struct{})}
		reports := make(chan check.Result, 10)
		r := check.NewRunner(check.Config{
			Kinds:  check.Table{Kind(w.lookup)},
			Report: func(_ string, r check.Result) { reports <- r },
		})
		defer r.Close()
		def := skerry.CheckDefinition{AliasNode: "n2", AliasService: "web"}
		if err := r.Start("a", &def, check.State{}); err != nil {
			t.Fatal(err)
		}
		want := func(status skerry.Health, output string) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-reports:
				if got != (check.Result{Status: status, Output: output}) {
					t.Errorf("%q", got)
				}
			default:
				t.Errorf("no report of %s", output)
			}
			if len(reports) != 0 {
				t.Errorf("%d reports more", len(reports))
			}
		}
		want(skerry.Critical, "Service web could not be found on node n2")
		w.set(true, &skerry.Check{Name: "c", ServiceID: "web", Status: skerry.Warning, Output: "x"})
		want(skerry.Warning, `Aliased check "c" warning: x`)
		w.set(true, &skerry.Check{Name: "c", ServiceID: "web", Status: skerry.Passing})
		want(skerry.Passing, "All checks passing.")
		w.set(true)
		want(skerry.Passing, "No checks found.")
		if err := r.Start("late", &def, check.State{}); err != nil { // joins what is watched already
			t.Fatal(err)
		}
		want(skerry.Passing, "No checks found.")
		r.Stop("late")
		r.Stop("a")
		w.set(false)
		synctest.Wait()
		if len(reports) != 0 {
			t.Errorf("a report of a stopped check: %q", <-reports)
		}
	})
}
