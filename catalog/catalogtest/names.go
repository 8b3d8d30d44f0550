package catalogtest

import (
	"fmt"
	"strings"

	"github.com/skerryhq/skerry"
)

var nameProofs = []proof{
	{name: "any spelling finds all", test: func(w *world) {
		w.agent("a", node("Bee")).with(inst("W1", "Web"), inst("w0", "web"), chk("c", "W1", skerry.Warning)).announce()
		w.external("e", node("ant")).with(inst("e", "WEB")).announce()
		for _, spelled := range []string{"web", "Web", "WEB", "wEb"} {
			w.shows(spelled, "ant/e; Bee/w0; Bee/W1 c=warning")
		}
		v := w.c.Service("wEB")
		if got := strings.Join(v.Names, " "); v.Service != "web" || got != "WEB Web web" {
			w.Errorf("%q is spelled %q", v.Service, got)
		}
		if got := v.Spelled("Web"); len(got) != 1 || got[0].Instance.ID != "W1" {
			w.Errorf("spelled Web are %v", got)
		}
		if got := v.Spelled("weB"); len(got) != 0 {
			w.Errorf("spelled weB are %v", got)
		}
		if v != w.c.Service("web") {
			w.Error("each spelling has a view of its own")
		}
		if n := w.c.Node("BEE"); n == nil || n.Node.Name != "Bee" {
			w.Errorf("the node BEE is %v", n)
		}
	}},
	{name: "lists show names as they are written, ordered without case", test: func(w *world) {
		for i, name := range []string{"b", "C", "a", "D"} {
			w.agent(name, node(name)).with(inst("Z", "Web"), inst("y", "web"), inst("x"+fmt.Sprint(i), "db")).announce()
		}
		var names []string
		for _, v := range w.c.Nodes() {
			names = append(names, v.Node.Name)
		}
		if got := strings.Join(names, " "); got != "a b C D" {
			w.Errorf("the nodes are %s", got)
		}
		if got := strings.Join(w.c.Services(), " "); got != "Web db web" {
			w.Errorf("the services are %s", got)
		}
		if is := w.c.Node("a").Instances; is[0].ID != "x2" || is[1].ID != "y" || is[2].ID != "Z" {
			w.Errorf("the instances begin with %s, %s, %s", is[0].ID, is[1].ID, is[2].ID)
		}
	}},
	{name: "a watcher of any spelling wakes for all", test: func(w *world) {
		a := w.agent("a", node("Bee")).with(inst("W1", "Web"))
		watch := func(what string, act func()) {
			w.Helper()
			w.clock.pass(coalesce)
			lower, upper, n := w.watch(skerry.TopicService, "web"), w.watch(skerry.TopicService, "WEB"), w.watch(skerry.TopicNode, "bEE")
			act()
			w.wakes(lower, what)
			w.wakes(upper, what)
			w.wakes(n, what)
		}
		watch("the first", func() { a.announce() })
		watch("one of another spelling", func() { a.change(skerry.Delta{Instances: []*skerry.Instance{inst("w2", "web")}}) })
		watch("another spelling of one", func() { a.change(skerry.Delta{Instances: []*skerry.Instance{inst("w2", "wEB")}}) })
		watch("the end of one", func() { a.change(skerry.Delta{RemovedInstances: []string{"W1"}}) })
		watch("the end of all", func() { w.withdraw("a") })
		w.cause("WeB", skerry.CauseDeregistered)
	}},
	{name: "the list of services changes with spellings and their tags", test: func(w *world) {
		for _, many := range []int{0, 40} { // tags are counted once there are many instances
			a := w.agent(fmt.Sprint("a", many), node("n")).with(inst("one", "Web", "v1"), inst("two", "web", "v1"))
			for i := range many {
				a.set.Instances = append(a.set.Instances, inst(fmt.Sprint(i), "web", "v1"))
			}
			a.announce()
			for _, step := range []struct {
				what string
				d    skerry.Delta
				want string
			}{
				{"a tag that another spelling has", skerry.Delta{Instances: []*skerry.Instance{inst("one", "Web", "v1", "v2")}}, "Web web"},
				{"a tag of one spelling that goes", skerry.Delta{Instances: []*skerry.Instance{inst("one", "Web", "v2")}}, "Web web"},
				{"a new spelling", skerry.Delta{Instances: []*skerry.Instance{inst("three", "WEB")}}, "WEB Web web"},
				{"a spelling that goes", skerry.Delta{RemovedInstances: []string{"one"}}, "WEB web"},
			} {
				w.clock.pass(coalesce)
				services := w.watch(skerry.TopicServices, "")
				w.must(skerry.Applied, a.change(step.d))
				w.wakes(services, step.what)
				if got := strings.Join(w.c.Services(), " "); got != step.want {
					w.Errorf("after %s the services are %s, want %s", step.what, got, step.want)
				}
			}
			w.clock.pass(coalesce)
			services := w.watch(skerry.TopicServices, "")
			a.change(skerry.Delta{Instances: []*skerry.Instance{inst("three", "WEB")}, RemovedInstances: []string{"nothing"}})
			w.sleeps(services, "no change")
			w.withdraw(a.id)
		}
	}},
}
