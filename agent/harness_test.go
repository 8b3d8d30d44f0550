package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/check/ttl"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/registry"
	"github.com/skerryhq/skerry/test/testlog"
)

// rig is an agent with its journal and a fresh catalog, as after a start.
type rig struct {
	testing.TB
	*Agent
	ledger *journal.Ledger
	table  *catalog.Table
	dir    string
	probes *probes
	told   *told
	logged *testlog.Log
	stop   func()
}

// probes answers the checks of the only kind beside TTL, by their URL.
type probes struct {
	mu      sync.Mutex
	results map[string]check.Result
	runs    map[string]int
}

func (p *probes) set(url string, h skerry.Health, output string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results[url] = check.Result{Status: h, Output: output}
}

func (p *probes) ran(url string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[url]
}

type probe struct {
	p   *probes
	url string
}

func (x probe) Check(context.Context) check.Result {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	x.p.runs[x.url]++
	r := x.p.results[x.url]
	r.Status = cmp.Or(r.Status, skerry.Passing)
	return r
}

func kindsFor(p *probes) check.Table {
	named := func(name string, target func(*skerry.CheckDefinition) string) check.Kind {
		return check.Kind{
			Name: name, Timeout: 10 * time.Second,
			Matches: func(d *skerry.CheckDefinition) bool { return target(d) != "" },
			New:     func(d *skerry.CheckDefinition) (check.Prober, error) { return probe{p, target(d)}, nil },
		}
	}
	script := named("script", func(d *skerry.CheckDefinition) string { return strings.Join(d.Args, " ") })
	script.Runs = true
	return check.Table{
		script,
		named("http", func(d *skerry.CheckDefinition) string { return d.HTTP }),
		named("tcp", func(d *skerry.CheckDefinition) string { return d.TCP }),
		ttl.Kind(),
	}
}

// told notes every state of a check that the catalog was told.
type told struct {
	*catalog.Table
	deaf   bool
	mu     sync.Mutex
	states []string
}

func (r *told) Announce(a skerry.Announcement) (skerry.Outcome, error) {
	if r.deaf {
		return r.Table.Announce(a)
	}
	r.mu.Lock()
	var checks []*skerry.Check
	if a.Set != nil {
		checks = a.Set.Checks
	} else {
		checks = a.Delta.Checks
	}
	for _, c := range checks {
		r.states = append(r.states, c.ID+"="+string(c.Status))
	}
	r.mu.Unlock()
	return r.Table.Announce(a)
}

func (r *told) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.states...)
}

// open starts an agent on dir ("": keeps nothing).
func open(t testing.TB, dir string) *rig {
	t.Helper()
	r := &rig{TB: t, dir: dir, logged: &testlog.Log{}, probes: &probes{results: map[string]check.Result{}, runs: map[string]int{}}}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// carrier carries to a table, as in a server that is alone.
func carrier(to registry.Table, log *slog.Logger) skerry.Carrier {
	return registry.New(registry.Config{Self: "n", Members: []cluster.ServerID{"n"}, Table: to, Log: log})
}

func (r *rig) start() {
	r.Helper()
	r.table = catalog.New(catalog.Config{})
	r.told = &told{Table: r.table}
	r.Agent = New(Config{
		Owner: "agent/n", Node: skerry.Node{Name: "n", Address: "192.0.2.1"}, Dir: r.dir, Kinds: kindsFor(r.probes),
		LocalPolicy: check.Policy{AllowScripts: true, Local: true},
		NodeChecks:  []*skerry.Check{{ID: "alive", Name: "alive", Status: skerry.Passing}},
		Own:         []*skerry.Instance{{ID: "self", Service: "self"}},
		Log:         slog.New(slog.NewTextHandler(r.logged, nil)),
	})
	var err error
	if r.ledger, err = journal.OpenLedger(r.dir, map[string]journal.Keeper{KeeperName: r.Agent}, slog.New(slog.DiscardHandler)); err != nil {
		r.Fatal(err)
	}
	if err := r.Start(r.ledger, carrier(r.told, r.log)); err != nil {
		r.ledger.Close()
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	a, l := r.Agent, r.ledger
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if _, digest, set := a.Whole(); digest != set.Digest() {
			r.Errorf("the digest of the set is %x, counted is %x", set.Digest(), digest)
		}
		a.Close()
		if err := l.Close(); err != nil && l.Broken() == nil {
			r.Errorf("close: %v", err)
		}
	})
}

// restart stops the agent, lets it be down for a while, and starts it again.
func (r *rig) restart(down time.Duration) {
	r.Helper()
	r.stop()
	pass(down)
	r.start()
}

// crash leaves the folder as a kill -9 would now, and starts an agent on the rest.
func (r *rig) crash(down time.Duration) {
	r.Helper()
	dir := r.copyDir()
	r.stop()
	pass(down)
	r.dir = dir
	r.start()
}

func (r *rig) copyDir() string {
	r.Helper()
	dir := r.TempDir()
	for _, name := range []string{"journal", deadlinesFile} {
		content, err := os.ReadFile(filepath.Join(r.dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}
		if err != nil {
			r.Fatal(err)
		}
	}
	return dir
}

// pass lets time go by; in a bubble it costs none.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// inBubble runs a test in a bubble of its own time.
func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { test(t, open(t, dir)) })
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) fails(want skerry.Kind, err error) {
	r.Helper()
	if err == nil || skerry.KindOf(err) != want {
		r.Errorf("error %v, want one of kind %v", err, want)
	}
}

func (r *rig) register(i skerry.Instance, checks ...skerry.CheckDefinition) {
	r.Helper()
	r.ok(r.RegisterService(r.ctx(), skerry.Registration{Instance: &i, Checks: checks}))
}

func (r *rig) ctx() context.Context { return context.Background() }

func (r *rig) beat(id string, h skerry.Health, output string) {
	r.Helper()
	r.ok(r.UpdateTTL(r.ctx(), id, h, output))
}

func web() skerry.Instance { return skerry.Instance{ID: "web-1", Service: "web", Port: 80} }

func ttlCheck(d time.Duration) skerry.CheckDefinition { return skerry.CheckDefinition{TTL: d} }

func httpCheck(url string) skerry.CheckDefinition {
	return skerry.CheckDefinition{HTTP: url, Interval: 10 * time.Second}
}

// state returns a check as "status output" from the local set, after checking
// that the catalog says the same.
func (r *rig) state(id string) string {
	r.Helper()
	if r.Agent == nil {
		r.Fatal("no agent")
	}
	var local *skerry.Check
	for _, c := range r.Checks() {
		if c.ID == id {
			local = c
		}
	}
	var shown *skerry.Check
	for _, c := range r.table.Node("n").Checks {
		if c.ID == id {
			shown = c
		}
	}
	if (local == nil) != (shown == nil) || local != nil && (local.Status != shown.Status || local.ServiceID != shown.ServiceID || fmt.Sprint(local.ServiceTags) != fmt.Sprint(shown.ServiceTags)) {
		r.Errorf("check %s is %+v here and %+v in the catalog", id, local, shown)
	}
	if local == nil {
		return "none"
	}
	return string(local.Status) + " " + local.Output
}

func (r *rig) is(id, want string) {
	r.Helper()
	if got := r.state(id); got != want {
		r.Errorf("check %s is %q, want %q", id, got, want)
	}
}

// ids lists the registered instances and checks: "web-1: service:web-1".
func (r *rig) ids() string {
	var out []string
	for _, i := range r.Instances() {
		_, own, _ := r.Instance(i.ID)
		line := i.ID
		for _, c := range own {
			line += " " + c.ID
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func (r *rig) has(want string) {
	r.Helper()
	if got := r.ids(); got != want {
		r.Errorf("registered are [%s], want [%s]", got, want)
	}
}

// quiet checks that do writes nothing and wakes nobody.
func (r *rig) quiet(what string, do func()) {
	r.Helper()
	size, changed, index := r.ledger.Size(), r.Changed(), r.table.Index()
	do()
	select {
	case <-changed:
		r.Errorf("%s woke a local watcher", what)
	default:
	}
	if r.ledger.Size() != size {
		r.Errorf("%s wrote to the journal", what)
	}
	if r.table.Index() != index {
		r.Errorf("%s changed the catalog", what)
	}
}
