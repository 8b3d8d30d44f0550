package catalogtest

import (
	"fmt"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

var causeProofs = []proof{
	{name: "unknown", test: func(w *world) {
		w.cause("web", skerry.CauseUnknown)
	}},
	{name: "none while there are instances", test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.cause("web", skerry.CauseNone)
	}},
	{name: "deregistered by a newer set", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		a.with().announce()
		w.cause("web", skerry.CauseDeregistered)
		a.with(inst("x", "web")).announce()
		w.cause("web", skerry.CauseNone)
	}},
	{name: "deregistered by withdrawal", test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.withdraw("a")
		w.cause("web", skerry.CauseDeregistered)
	}},
	{name: "recovering after a start, and unknown after it", cfg: catalog.Config{Recover: 30 * time.Second}, test: func(w *world) {
		w.cause("web", skerry.CauseRecovering)
		w.run(30 * time.Second)
		w.cause("web", skerry.CauseUnknown)
	}},
	{name: "a known cause is given also while recovering", cfg: catalog.Config{Recover: 30 * time.Second}, test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.withdraw("a")
		w.cause("web", skerry.CauseDeregistered)
	}},
	{name: "what a query selects has left", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("stay", "web", "v2"), inst("one", "web", "v1"), inst("two", "web", "v1"))
		a.announce()
		w.selects("v1", skerry.CauseFiltered) // some are there: they are left out for another reason
		w.selects("v3", skerry.CauseFiltered)
		a.change(skerry.Delta{RemovedInstances: []string{"one"}})
		w.selects("v1", skerry.CauseFiltered)
		a.change(skerry.Delta{RemovedInstances: []string{"two"}})
		w.selects("v1", skerry.CauseDeregistered)
		w.selects("v3", skerry.CauseFiltered)
		w.cause("web", skerry.CauseNone)
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("stay", "web", "v3")}})
		w.selects("v2", skerry.CauseDeregistered) // its owner has said so
		w.selects("v3", skerry.CauseFiltered)
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("one", "web", "v1")}})
		w.selects("v1", skerry.CauseFiltered)
	}},
	{name: "the memory of departures is bounded", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("stay", "web"), inst("old", "web", "old"))
		a.announce()
		a.change(skerry.Delta{RemovedInstances: []string{"old"}})
		w.selects("old", skerry.CauseDeregistered)
		for i := range 40 {
			id := fmt.Sprint(i)
			a.change(skerry.Delta{Instances: []*skerry.Instance{inst(id, "web", "new")}})
			a.change(skerry.Delta{RemovedInstances: []string{id}})
		}
		w.selects("new", skerry.CauseDeregistered)
		w.selects("old", skerry.CauseFiltered)
		if n := len(w.c.Service("web").Left); n > 16 {
			w.Errorf("%d are remembered", n)
		}
	}},
	{name: "forgotten after a day", test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.withdraw("a")
		w.clock.pass(25 * time.Hour)
		w.c.Tick()
		w.cause("web", skerry.CauseUnknown)
	}},
}
