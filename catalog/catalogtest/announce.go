package catalogtest

import (
	"time"

	"github.com/skerryhq/skerry"
)

var announceProofs = []proof{
	{name: "a set is shown", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("web-1", "web", "v1"), inst("db", "db"), chk("c", "web-1", skerry.Warning), chk("node", "", skerry.Passing))
		w.must(skerry.Applied, a.announce())
		w.shows("web", "n/web-1 node=passing c=warning")
		w.shows("db", "n/db node=passing")
		if h := w.c.Service("web").Entries[0].Health; h != skerry.Warning {
			w.Errorf("health is %s, want the worst of the checks", h)
		}
	}},
	{name: "announcing the present set changes nothing", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("web-1", "web", "v1"), chk("c", "web-1", skerry.Warning))
		a.announce()
		before, view, all := w.c.Index(), w.c.Service("web"), w.watch(skerry.TopicAll, "")
		w.must(skerry.Unchanged, a.announce())
		w.must(skerry.Unchanged, w.announce(a.whole()))
		w.must(skerry.Unchanged, a.change(skerry.Delta{Instances: []*skerry.Instance{inst("web-1", "web", "v1")}}))
		w.must(skerry.Unchanged, a.change(skerry.Delta{RemovedInstances: []string{"nobody"}, RemovedChecks: []string{"nothing"}}))
		w.must(skerry.Unchanged, a.beat())
		w.sleeps(all, "announcing the present set")
		if w.c.Index() != before || w.c.Service("web") != view {
			w.Error("announcing the present set made an index or a view")
		}
	}},
	{name: "a delta changes what it names", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("web-1", "web"), inst("web-2", "web"), chk("c1", "web-1", skerry.Passing), chk("c2", "web-2", skerry.Passing))
		a.announce()
		w.must(skerry.Applied, a.change(skerry.Delta{
			Instances: []*skerry.Instance{inst("web-3", "web")}, RemovedInstances: []string{"web-1"}, RemovedChecks: []string{"c1"},
			Checks: []*skerry.Check{chk("c2", "web-2", skerry.Critical)},
		}))
		w.shows("web", "n/web-2 c2=critical; n/web-3")
	}},
	{name: "an instance changes its service", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.must(skerry.Applied, a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x", "api")}}))
		w.shows("web", "")
		w.shows("api", "n/x")
		w.cause("web", skerry.CauseDeregistered)
	}},
	{name: "a check changes its instance", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), inst("y", "api"), chk("c", "x", skerry.Critical))
		a.announce()
		w.must(skerry.Applied, a.change(skerry.Delta{Checks: []*skerry.Check{chk("c", "y", skerry.Critical)}}))
		w.shows("web", "n/x")
		w.shows("api", "n/y c=critical")
	}},
	{name: "an unknown owner's delta asks for the set", test: func(w *world) {
		a := w.agent("a", node("n"))
		w.must(skerry.Resend, a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x", "web")}}))
		w.shows("web", "")
	}},
	{name: "a delta on another base asks for the set", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		a.version.Seq++ // this one was lost
		w.must(skerry.Resend, a.change(skerry.Delta{RemovedInstances: []string{"x"}}))
		w.shows("web", "n/x")
		w.must(skerry.Applied, a.with().announce())
		w.shows("web", "")
	}},
	{name: "older versions are dropped", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("old", "web"))
		a.announce()
		late := a.whole()
		a.with(inst("new", "web")).announce()
		w.must(skerry.Stale, w.announce(late))
		late.Base, late.Delta, late.Set = skerry.Version{}, &skerry.Delta{RemovedInstances: []string{"new"}}, nil
		w.must(skerry.Stale, w.announce(late))
		w.shows("web", "n/new")
	}},
	{name: "a new epoch wins whatever the sequence", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("old", "web"))
		a.version.Seq = 1000
		a.announce()
		late := a.whole()
		a.version = skerry.Version{Epoch: 2}
		w.must(skerry.Applied, a.with(inst("new", "web")).announce())
		w.must(skerry.Stale, w.announce(late))
		w.shows("web", "n/new")
	}},
	{name: "the same version mends a differing set", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		_, digest, _ := w.c.Known("a")
		a.with(inst("y", "web"))
		w.must(skerry.Applied, w.announce(a.whole()))
		w.shows("web", "n/y")
		w.must(skerry.Resend, w.c.Beat("a", digest))
	}},
	{name: "a beat confirms the digest", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), chk("c", "x", skerry.Passing))
		a.announce()
		_, digest, ok := w.c.Known("a")
		if !ok || digest == 0 {
			w.Fatalf("digest %d, %v", digest, ok)
		}
		w.must(skerry.Unchanged, w.c.Beat("a", digest))
		w.must(skerry.Resend, w.c.Beat("a", digest+1))
		w.must(skerry.Resend, w.c.Beat("nobody", digest))
		a.change(skerry.Delta{Checks: []*skerry.Check{chk("c", "x", skerry.Critical)}})
		w.must(skerry.Resend, w.c.Beat("a", digest))
		if _, _, ok := w.c.Known("nobody"); ok {
			w.Error("an unknown owner has a digest")
		}
	}},
	{name: "a withdrawn owner's set leaves at once", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), chk("c", "x", skerry.Passing))
		a.announce()
		if !w.withdraw("a") || w.withdraw("a") {
			w.Error("Withdraw does not tell whether the owner was there")
		}
		w.shows("web", "")
		if w.c.Node("n") != nil || len(w.c.Nodes()) != 0 || len(w.c.Services()) != 0 {
			w.Error("something of it is still there")
		}
	}},
	{name: "a tombstone stops late announcements", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		older := a.whole()
		a.announce()
		last := a.whole()
		w.withdraw("a")
		w.must(skerry.Stale, w.announce(older))
		w.must(skerry.Stale, w.announce(last))
		w.must(skerry.Resend, a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x", "web")}}))
		w.shows("web", "")
		w.must(skerry.Applied, a.announce())
		w.shows("web", "n/x")
		w.withdraw("a")
		w.clock.pass(25 * time.Hour)
		w.must(skerry.Applied, w.announce(older))
	}},
	{name: "records announced again after a departure are not written to", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), chk("c", "x", skerry.Passing))
		first := a.whole()
		first.Version = skerry.Version{Epoch: 1, Seq: 1}
		w.announce(first)
		old := w.c.Service("web").Entries[0]
		created, checked, seen := old.Instance.Created, old.Checks[0].Created, old.Node.Created
		w.withdraw("a")
		first.Version.Epoch++
		w.must(skerry.Applied, w.announce(first))
		if old.Instance.Created != created || old.Checks[0].Created != checked || old.Node.Created != seen {
			w.Error("a view that a reader holds changed")
		}
		if w.c.Service("web").Entries[0].Instance.Created <= created {
			w.Error("the instance that came back has its old stamp")
		}
	}},
	{name: "stamps tell creation from change", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		first := *w.c.Service("web").Entries[0].Instance
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x", "web", "tagged")}})
		second := w.c.Service("web").Entries[0].Instance
		if first.Created == 0 || first.Modified != first.Created {
			w.Errorf("first stamp %+v", first.Stamp)
		}
		if second.Created != first.Created || second.Modified <= first.Modified {
			w.Errorf("stamps %+v, then %+v", first.Stamp, second.Stamp)
		}
	}},
}

var invalidProofs = func() []proof {
	var out []proof
	for name, change := range map[string]func(*skerry.Announcement){
		"no owner":            func(a *skerry.Announcement) { a.Owner = "" },
		"neither set nor not": func(a *skerry.Announcement) { a.Set = nil },
		"both":                func(a *skerry.Announcement) { a.Delta = &skerry.Delta{} },
		"no node":             func(a *skerry.Announcement) { a.Set.Node = nil },
		"no node name":        func(a *skerry.Announcement) { a.Set.Node.Name = "" },
		"a lease without ttl": func(a *skerry.Announcement) { a.Kind = skerry.LeaseOwner },
		"instance nil":        func(a *skerry.Announcement) { a.Set.Instances[0] = nil },
		"instance id":         func(a *skerry.Announcement) { a.Set.Instances[0].ID = "" },
		"instance service":    func(a *skerry.Announcement) { a.Set.Instances[0].Service = "" },
		"instance id twice":   func(a *skerry.Announcement) { a.Set.Instances[1].ID = "x" },
		"check nil":           func(a *skerry.Announcement) { a.Set.Checks[0] = nil },
		"check id":            func(a *skerry.Announcement) { a.Set.Checks[0].ID = "" },
		"check id twice":      func(a *skerry.Announcement) { a.Set.Checks[1].ID = "c" },
		"delta's instance": func(a *skerry.Announcement) {
			a.Set, a.Base, a.Delta = nil, skerry.Version{Epoch: 1, Seq: 1}, &skerry.Delta{Instances: []*skerry.Instance{{ID: "z"}}}
		},
		"delta's node": func(a *skerry.Announcement) {
			a.Set, a.Base, a.Delta = nil, skerry.Version{Epoch: 1, Seq: 1}, &skerry.Delta{Node: &skerry.Node{}}
		},
	} {
		out = append(out, proof{name: name, test: func(w *world) {
			p := w.agent("a", node("n")).with(inst("x", "web"), inst("y", "web"), chk("c", "x", skerry.Passing), chk("d", "y", skerry.Passing))
			p.announce()
			before := w.c.Index()
			a := p.whole()
			a.Version.Seq++
			change(&a)
			if _, err := w.c.Announce(a); skerry.KindOf(err) != skerry.Invalid || err == nil {
				w.Errorf("error %v, want one of kind invalid", err)
			}
			if w.c.Index() != before {
				w.Error("an invalid announcement changed something")
			}
			w.shows("web", "n/x c=passing; n/y d=passing")
			w.must(skerry.Unchanged, p.announce()) // the version did not move either
		}})
	}
	return out
}()
