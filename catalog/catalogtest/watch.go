package catalogtest

import (
	"time"

	"github.com/skerryhq/skerry"
)

var watchProofs = []proof{
	{name: "each service has its own watchers", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), inst("y", "db"), chk("c", "x", skerry.Passing))
		a.announce()
		for what, d := range map[string]skerry.Delta{
			"a new instance":    {Instances: []*skerry.Instance{inst("x2", "web")}},
			"a changed one":     {Instances: []*skerry.Instance{inst("x", "web", "v2")}},
			"a check's state":   {Checks: []*skerry.Check{chk("c", "x", skerry.Critical)}},
			"a new check":       {Checks: []*skerry.Check{chk("c2", "x", skerry.Passing)}},
			"a removed one":     {RemovedInstances: []string{"x2"}},
			"a check that goes": {RemovedChecks: []string{"c"}},
		} {
			a.announce() // back to the beginning
			w.clock.pass(coalesce)
			if what == "a removed one" {
				a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x2", "web")}})
				w.clock.pass(coalesce)
			}
			web, db := w.watch(skerry.TopicService, "web"), w.watch(skerry.TopicService, "db")
			w.must(skerry.Applied, a.change(d))
			w.wakes(web, what)
			w.sleeps(db, what+" of another service")
		}
	}},
	{name: "other nodes' churn wakes no watcher", test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		web, n := w.watch(skerry.TopicService, "web"), w.watch(skerry.TopicNode, "n")
		b := w.agent("b", node("m"))
		for i := range 10 {
			b.with(inst("y", "db"), chk("c", "y", []skerry.Health{skerry.Passing, skerry.Critical}[i%2])).announce()
		}
		w.withdraw("b")
		w.sleeps(web, "another service's churn")
		w.sleeps(n, "another node's churn")
	}},
	{name: "changes within the window wake once", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.clock.pass(coalesce)
		web := w.watch(skerry.TopicService, "web")
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x2", "web")}})
		w.clock.pass(coalesce / 2)
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x3", "web")}})
		select {
		case <-web.changed:
			w.Fatal("woken within the window")
		default:
		}
		w.clock.pass(coalesce / 2)
		select {
		case <-web.changed:
		default:
			w.Fatal("not woken after the window that the first change opened")
		}
		w.shows("web", "n/x; n/x2; n/x3")
		w.sleeps(w.watch(skerry.TopicService, "web"), "a change that was told already")
	}},
	{name: "an output wakes no watcher and is shown soon", test: func(w *world) {
		c := chk("c", "x", skerry.Passing)
		nc := chk("nc", "", skerry.Passing)
		a := w.agent("a", node("n")).with(inst("x", "web"), c, nc)
		a.announce()
		w.clock.pass(coalesce)
		before, index := w.c.Service("web"), w.c.Index()
		w.c.Node("n")
		c.Output, c.Since, nc.Output = "new", time.Unix(5, 0), "too"
		all, web := w.watch(skerry.TopicAll, ""), w.watch(skerry.TopicService, "web")
		w.must(skerry.Unchanged, a.announce())
		w.clock.pass(outputEvery)
		w.sleeps(all, "an output")
		w.sleeps(web, "an output")
		e := w.c.Service("web").Entries[0]
		if e.Checks[0].Output != "too" || e.Checks[1].Output != "new" || !e.Checks[1].Since.Equal(time.Unix(5, 0)) {
			w.Errorf("the outputs are %q and %q", e.Checks[0].Output, e.Checks[1].Output)
		}
		if got := w.c.Node("n").InstanceChecks("x")[0].Output; got != "new" {
			w.Errorf("the node's view says %q", got)
		}
		if w.c.Service("web").Index != before.Index || w.c.Index() != index {
			w.Error("an output moved an index")
		}
		if before.Entries[0].Checks[1].Output != "" {
			w.Error("a view that a reader holds changed")
		}
	}},
	{name: "appearing and going services wake their watchers", test: func(w *world) {
		absent := w.watch(skerry.TopicService, "web")
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.wakes(absent, "a service that appeared")
		there := w.watch(skerry.TopicService, "web")
		a.with().announce()
		w.wakes(there, "a service that went")
		gone := w.watch(skerry.TopicService, "web")
		if gone.index <= there.index {
			w.Errorf("the index went from %d to %d", there.index, gone.index)
		}
		a.with(inst("x", "web")).announce()
		w.wakes(gone, "a service that came back")
	}},
	{name: "a service that goes and comes back within the window wakes", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.clock.pass(coalesce)
		there := w.watch(skerry.TopicService, "web")
		a.with().announce()
		between := w.watch(skerry.TopicService, "web")
		a.with(inst("x2", "web")).announce()
		w.wakes(there, "a replaced service")
		w.wakes(between, "a service that came back")
		if again := w.watch(skerry.TopicService, "web"); again.index <= between.index || again.index <= there.index {
			w.Errorf("indexes %d, %d, %d do not grow", there.index, between.index, again.index)
		}
	}},
	{name: "nodes", test: func(w *world) {
		absent, nodes := w.watch(skerry.TopicNode, "N"), w.watch(skerry.TopicNodes, "")
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.wakes(absent, "a new node")
		w.wakes(nodes, "a new node")
		nodes, web := w.watch(skerry.TopicNodes, ""), w.watch(skerry.TopicService, "web")
		a.change(skerry.Delta{Checks: []*skerry.Check{chk("c", "", skerry.Passing)}})
		w.sleeps(nodes, "a check of a node")
		w.wakes(web, "a check of a node")
		a.set.Checks = []*skerry.Check{chk("c", "", skerry.Passing)}
		moved := node("n")
		moved.Address = "192.0.2.99"
		web, there := w.watch(skerry.TopicService, "web"), w.watch(skerry.TopicNode, "n")
		a.set.Node = moved
		w.must(skerry.Applied, a.announce())
		w.wakes(nodes, "a node's new address")
		w.wakes(web, "a node's new address")
		w.wakes(there, "a node's new address")
		there = w.watch(skerry.TopicNode, "n")
		w.withdraw("a")
		w.wakes(there, "a node that left")
		if again := w.watch(skerry.TopicNode, "n"); again.index <= there.index {
			w.Errorf("the node's index went from %d to %d", there.index, again.index)
		}
	}},
	{name: "names and tags", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web", "v1"))
		names := w.watch(skerry.TopicServices, "")
		a.announce()
		w.wakes(names, "a new name")
		names = w.watch(skerry.TopicServices, "")
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x2", "web", "v1")}})
		a.change(skerry.Delta{Checks: []*skerry.Check{chk("c", "x", skerry.Critical)}})
		w.sleeps(names, "an instance without a new tag")
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x2", "web", "v1", "v2")}})
		w.wakes(names, "a new tag")
		names = w.watch(skerry.TopicServices, "")
		a.change(skerry.Delta{RemovedInstances: []string{"x"}})
		w.sleeps(names, "an instance that leaves its tags in use")
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x2", "web", "v1")}})
		w.wakes(names, "a tag that went")
	}},
	{name: "tags of a large service", test: func(w *world) {
		a := w.agent("a", node("n"))
		var many []any
		for i := range 40 {
			many = append(many, inst("x"+string(rune('A'+i)), "web", "all", "t"+string(rune('A'+i))))
		}
		a.with(many...).announce()
		w.clock.pass(coalesce)
		for _, step := range []struct {
			what  string
			d     skerry.Delta
			wakes bool
		}{
			{"a tag in use on another", skerry.Delta{Instances: []*skerry.Instance{inst("y", "web", "all", "tA")}}, false},
			{"its going", skerry.Delta{RemovedInstances: []string{"y"}}, false},
			{"the last with a tag", skerry.Delta{RemovedInstances: []string{"xA"}}, true},
			{"a tag anew", skerry.Delta{Instances: []*skerry.Instance{inst("xB", "web", "all", "new")}}, true},
		} {
			names := w.watch(skerry.TopicServices, "")
			w.must(skerry.Applied, a.change(step.d))
			if names.woken() != step.wakes {
				w.Errorf("%s: woken is not %v", step.what, step.wakes)
			}
		}
	}},
	{name: "checks and all", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.clock.pass(coalesce)
		checks, all := w.watch(skerry.TopicChecks, ""), w.watch(skerry.TopicAll, "")
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x", "web", "v2")}})
		w.wakes(all, "a tag")
		w.sleeps(checks, "a tag")
		a.change(skerry.Delta{Checks: []*skerry.Check{chk("c", "x", skerry.Critical)}})
		w.wakes(checks, "a check")
		checks = w.watch(skerry.TopicChecks, "")
		a.change(skerry.Delta{RemovedChecks: []string{"c"}})
		w.wakes(checks, "a removed check")
	}},
}
