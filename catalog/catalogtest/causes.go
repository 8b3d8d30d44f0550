package catalogtest

import (
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
		w.c.Withdraw("a")
		w.cause("web", skerry.CauseDeregistered)
	}},
	{name: "expired", test: func(w *world) {
		w.lease("a", 10*time.Second, node("n")).with(inst("x", "web")).announce()
		w.run(11 * time.Second)
		w.cause("web", skerry.CauseExpired)
	}},
	{name: "recovering after a start, and unknown after it", cfg: catalog.Config{Recover: 30 * time.Second}, test: func(w *world) {
		w.cause("web", skerry.CauseRecovering)
		w.run(30 * time.Second)
		w.cause("web", skerry.CauseUnknown)
	}},
	{name: "what is known is said also while recovering", cfg: catalog.Config{Recover: 30 * time.Second}, test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.c.Withdraw("a")
		w.cause("web", skerry.CauseDeregistered)
	}},
	{name: "forgotten after a day", test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.c.Withdraw("a")
		w.clock.pass(25 * time.Hour)
		w.c.Tick()
		w.cause("web", skerry.CauseUnknown)
	}},
}
