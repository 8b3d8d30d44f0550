package external_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/external"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// externals are external records shown by a catalog of their own, until the test ends.
func externals(t testing.TB, kv skerry.KV) (*external.Store, *catalog.Table) {
	t.Helper()
	table := catalog.New(catalog.Config{})
	x := external.New(external.Options{KV: kv, Catalog: table, Announcer: table, Sessions: session.New(session.Options{KV: kv, Catalog: table})})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); x.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return x, table
}

func record(node, service string, checks ...*skerry.Check) skerry.ExternalRecord {
	r := skerry.ExternalRecord{Node: &skerry.Node{Name: node, Address: "10.0.0.1"}, Checks: checks}
	if service != "" {
		r.Instance = &skerry.Instance{ID: service, Service: "web", Port: 80, Tags: []string{"t"}}
	}
	return r
}

func checkOn(id, service string, status skerry.Health) *skerry.Check {
	return &skerry.Check{ID: id, Name: id, ServiceID: service, Status: status}
}

func put(t testing.TB, x *external.Store, r skerry.ExternalRecord) {
	t.Helper()
	if err := x.PutExternal(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// shown returns the contents of a catalog as text, with the stamps.
func shown(c skerry.Catalog) string {
	var b strings.Builder
	for _, v := range c.Nodes() {
		fmt.Fprintf(&b, "%s %s %v\n", v.Node.Name, v.Node.Address, v.Node.Stamp)
		for _, i := range v.Instances {
			fmt.Fprintf(&b, "  service %s %s:%d %v\n", i.ID, i.Service, i.Port, i.Stamp)
		}
		for _, k := range v.Checks {
			fmt.Fprintf(&b, "  check %s of %q (%s %v) %s %q %v\n", k.ID, k.ServiceID, k.ServiceName, k.ServiceTags, k.Status, k.Output, k.Stamp)
		}
	}
	return b.String()
}

func TestExternalIsShownWhenItIsWritten(t *testing.T) {
	kv := replicatest.NewMemory()
	x, table := externals(t, kv)
	put(t, x, record("N1", "s1", checkOn("c1", "s1", skerry.Passing), checkOn("n", "", skerry.Passing)))
	put(t, x, record("n1", "s2"))
	put(t, x, record("a/b%", "s/1", checkOn("c/1", "s/1", skerry.Passing)))
	put(t, x, record("a", "s1"))
	for step, want := range []string{
		"a 10.0.0.1 {5 5}\n  service s1 web:80 {5 5}\na/b% 10.0.0.1 {4 4}\n  service s/1 web:80 {4 4}\n  check c/1 of \"s/1\" (web [t]) passing \"\" {4 4}\n" +
			"n1 10.0.0.1 {2 3}\n  service s1 web:80 {2 2}\n  service s2 web:80 {3 3}\n  check c1 of \"s1\" (web [t]) passing \"\" {2 2}\n  check n of \"\" ( []) passing \"\" {2 2}\n",
		"n1 10.0.0.1 {2 3}\n  service s2 web:80 {3 3}\n  check n of \"\" ( []) passing \"\" {2 2}\n",
		"n1 10.0.0.1 {2 3}\n  service s2 web:80 {3 3}\n",
		"",
	} {
		if got := shown(table); got != want {
			t.Fatalf("step %d:\n%swant\n%s", step, got, want)
		}
		var err error
		switch step {
		case 0:
			for _, what := range [][2]string{{"A/B%", ""}, {"a", ""}, {"N1", "s1"}, {"none", ""}, {"n1", "none"}} {
				if err := x.DeleteExternal(t.Context(), what[0], what[1], ""); err != nil {
					t.Fatal(err)
				}
			}
		case 1:
			err = x.DeleteExternal(t.Context(), "n1", "", "n")
		case 2:
			err = x.DeleteExternal(t.Context(), "n1", "", "")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for r := range kv.Snapshot().All(skerry.Below("ext/"), "") {
		t.Errorf("%s is left", r.Key)
	}
}

func TestExternalRules(t *testing.T) {
	kv := replicatest.NewMemory()
	x, table := externals(t, kv)
	whole := func() skerry.ExternalRecord {
		r := record("n1", "s1", checkOn("c1", "s1", skerry.Passing))
		r.Node.ID, r.Node.Meta = "11111111-2222-3333-4444-555555555555", map[string]string{"b": "1", "a": "2"}
		return r
	}
	put(t, x, whole())
	index, before := kv.Index(), shown(table)
	_, changed := table.Watch(skerry.Topic{Kind: skerry.TopicAll})
	put(t, x, whole())
	if kv.Index() != index || shown(table) != before {
		t.Error("the same again changed something")
	}
	select {
	case <-changed:
		t.Error("the same again woke a watcher")
	default:
	}

	keep := record("N1", "s2")
	keep.Node, keep.KeepNode = &skerry.Node{Name: "N1"}, true
	put(t, x, keep)
	if n := table.Node("n1").Node; n.Address != "10.0.0.1" || n.ID == "" {
		t.Errorf("the node was not kept: %+v", n)
	}

	err := x.PutExternal(t.Context(), record("n1", "", checkOn("c2", "none", skerry.Passing)))
	if skerry.KindOf(err) != skerry.Invalid || err.Error() != "Unknown service ID 'none' for check ID 'c2'" {
		t.Errorf("a check of no service: %v", err)
	}

	moved := record("n2", "")
	moved.Node.ID = "11111111-2222-3333-4444-555555555555"
	put(t, x, moved)
	if table.Node("n1") != nil || table.Node("n2") == nil {
		t.Error("a node's ID is there twice, or not at all")
	}
}

// What an agent announces wins over an external record; an external check may
// judge an agent's instance, on the agent's node.
func TestExternalBesideOwned(t *testing.T) {
	x, table := externals(t, replicatest.NewMemory())
	decidedtest.Announce(t, table, "n1", "10.1.1.1", []string{"own"}, nil, skerry.Passing)
	r := record("n1", "web-n1", checkOn("esm", "web-n1", skerry.Critical))
	r.KeepNode, r.Node.Address = true, ""
	put(t, x, r)
	v := table.Service("web")
	if len(v.Entries) != 1 || v.Entries[0].Instance.Tags[0] != "own" || v.Entries[0].Health != skerry.Critical {
		t.Errorf("shown: %+v", v.Entries[0])
	}
	if err := x.DeleteExternal(t.Context(), "n1", "", ""); err != nil {
		t.Fatal(err)
	}
	if v := table.Service("web"); len(v.Entries) != 1 || v.Entries[0].Health != skerry.Passing {
		t.Error("the agent's own record went with the external one")
	}
}

// Records shown change by change are, after any changes in any order, those that are shown
// by a server that starts then.
func TestExternalDeltasLeadWhereTheWholeDoes(t *testing.T) {
	kv := replicatest.NewMemory()
	x, table := externals(t, kv)
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(kind string, n int) string { return fmt.Sprint(kind, rnd.IntN(n)) }
	for range 600 {
		node, service, check := pick("n", 4), pick("s", 4), pick("c", 4)
		var err error
		switch rnd.IntN(10) {
		case 0:
			err = x.DeleteExternal(t.Context(), node, "", "")
		case 1:
			err = x.DeleteExternal(t.Context(), node, service, "")
		case 2:
			err = x.DeleteExternal(t.Context(), node, "", check)
		default:
			r := record(node, service, checkOn(check, []string{"", service}[rnd.IntN(2)], skerry.Passing))
			r.Instance.Port, r.Checks[0].Output = rnd.IntN(3), pick("o", 3)
			r.Node.Address = pick("10.0.0.", 3)
			if rnd.IntN(4) == 0 {
				r.Node.ID = pick("1111111-2222-3333-4444-55555555555", 3)
			}
			err = x.PutExternal(t.Context(), r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fresh, other := externals(t, kv)
	put(t, fresh, record("last", ""))
	put(t, x, record("last", ""))
	if a, b := shown(table), shown(other); a != b {
		t.Errorf("change by change:\n%s\nfrom the start:\n%s", a, b)
	}
}

func TestExternalAdopts(t *testing.T) {
	kv := replicatest.NewMemory()
	x, table := externals(t, kv)
	old := &skerry.Set{Node: &skerry.Node{Name: "Old", Address: "10.0.0.9"}}
	for i := range 120 {
		id := fmt.Sprintf("s%03d", i)
		old.Instances = append(old.Instances, &skerry.Instance{ID: id, Service: "old"})
		old.Checks = append(old.Checks, checkOn("c-"+id, id, skerry.Passing))
	}
	newer := record("old", "s000")
	put(t, x, newer)
	for range 2 {
		if err := x.Adopt(t.Context(), old); err != nil {
			t.Fatal(err)
		}
	}
	put(t, x, record("other", "")) // the catalog shows the earlier writes too
	v := table.Node("old")
	if len(v.Instances) != 120 || len(v.Checks) != 120 || v.Node.Address != "10.0.0.1" || v.Instances[0].Service != "web" {
		t.Errorf("%d instances, %d checks, node at %s", len(v.Instances), len(v.Checks), v.Node.Address)
	}
}

// A write that the catalog cannot show in time says so, and an end of showing
// lets all go.
func TestExternalWaitEnds(t *testing.T) {
	kv, table := replicatest.NewMemory(), catalog.New(catalog.Config{})
	x := external.New(external.Options{KV: kv, Catalog: table, Announcer: table, Sessions: session.New(session.Options{KV: kv, Catalog: table})})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := x.PutExternal(ctx, record("n1", "")); skerry.KindOf(err) != skerry.Unavailable {
		t.Errorf("nobody shows it, and the answer is %v", err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	x.Run(ended)
	if err := x.PutExternal(t.Context(), record("n2", "")); err != nil {
		t.Error(err)
	}
}
