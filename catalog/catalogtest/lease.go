package catalogtest

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

const ttl = 10 * time.Second

// lost checks which owners were lost.
func (w *world) lost(got []skerry.OwnerID, want ...skerry.OwnerID) {
	w.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.Errorf("lost are %v, want %v", got, want)
	}
}

var leaseProofs = []proof{
	{name: "silence longer than the TTL", test: func(w *world) {
		a := w.lease("a", ttl, node("n")).with(inst("x", "web"))
		a.announce()
		w.lost(w.run(ttl - tickEvery))
		w.shows("web", "n/x")
		web := w.watch(skerry.TopicService, "web")
		w.lost(w.run(2*tickEvery), "a")
		w.wakes(web, "an expiry")
		w.shows("web", "")
		w.must(skerry.Resend, a.beat())
		w.must(skerry.Applied, w.announce(a.whole())) // as it was: it did not withdraw
		w.shows("web", "n/x")
	}},
	{name: "beats, announcements and answers keep it", test: func(w *world) {
		a := w.lease("a", ttl, node("n")).with(inst("x", "web"))
		a.announce()
		for i, alive := range []func() skerry.Outcome{
			a.beat, a.announce, func() skerry.Outcome { return w.announce(a.whole()) },
			func() skerry.Outcome { return a.change(skerry.Delta{}) },
			func() skerry.Outcome { w.c.Beat("a", 1); return skerry.Unchanged }, // it is alive, whatever it has
		} {
			w.lost(w.run(ttl * 2 / 3))
			w.must(skerry.Unchanged, alive())
			if i == 0 && w.c.Service("web").Cause != skerry.CauseNone {
				w.Error("a beat changed the view")
			}
		}
		w.lost(w.run(ttl*2/3 + tickEvery))
		w.lost(w.run(ttl/3+tickEvery), "a")
	}},
	{name: "a late announcement does not revive the lost", test: func(w *world) {
		a := w.lease("a", ttl, node("n")).with(inst("x", "web"))
		a.announce()
		late := a.whole()
		a.announce()
		w.run(2 * ttl)
		w.must(skerry.Stale, w.announce(late))
	}},
	{name: "external owners do not expire", test: func(w *world) {
		w.external("e", node("m")).with(inst("y", "web")).announce()
		w.lost(w.run(time.Hour))
		w.shows("web", "m/y")
	}},
	{name: "a shorter and a longer TTL count from when they are told", test: func(w *world) {
		a := w.lease("a", time.Hour, node("n"))
		a.announce()
		a.ttl = ttl
		a.announce()
		w.lost(w.run(ttl+tickEvery), "a")
		a.announce()
		a.ttl = time.Hour
		a.announce()
		w.lost(w.run(2 * ttl))
	}},
	{name: "many owners expire each in its time", test: func(w *world) {
		for _, p := range []struct {
			id  string
			ttl time.Duration
		}{{"c", 3 * time.Second}, {"a", time.Second}, {"d", 4 * time.Second}, {"b", 2 * time.Second}} {
			w.lease(p.id, p.ttl, node(p.id)).with(inst("x", p.id)).announce()
		}
		w.withdraw("c")
		w.lost(w.run(time.Second+tickEvery), "a")
		w.lost(w.run(time.Second), "b")
		w.lost(w.run(time.Second))
		w.lost(w.run(time.Second), "d")
	}},
	{name: "no owner expires for a stall of ours", test: func(w *world) {
		a := w.lease("a", ttl, node("n"))
		a.announce()
		w.run(ttl / 2)
		w.clock.pass(time.Hour) // no tick: we stood still
		w.lost(w.tick())
		w.lost(w.run(ttl - 2*tickEvery)) // its beats may have been lost with the stall
		w.lost(w.run(4*tickEvery), "a")
	}},
	{name: "no owner expires while recovering", cfg: catalog.Config{Recover: time.Minute}, test: func(w *world) {
		a, b := w.lease("a", ttl, node("n")), w.lease("b", ttl, node("m"))
		a.announce()
		b.announce()
		w.lost(w.run(time.Minute - 2*tickEvery))
		w.must(skerry.Unchanged, a.beat())
		w.lost(w.run(3*tickEvery), "b")
		w.lost(w.run(ttl), "a")
	}},
	{name: "the cause of an empty answer is the expiry", test: func(w *world) {
		w.lease("a", 10*time.Second, node("n")).with(inst("x", "web")).announce()
		w.run(11 * time.Second)
		w.cause("web", skerry.CauseExpired)
	}},
	{name: "what a query selects was lost", cfg: catalog.Config{Guard: catalog.Guard{Share: 1}}, test: func(w *world) {
		w.lease("a", 48*time.Hour, node("n")).with(inst("stay", "web", "v2")).announce()
		w.lease("l", 10*time.Second, node("m")).with(inst("one", "WEB", "v1")).announce()
		w.run(11 * time.Second)
		w.selects("v1", skerry.CauseExpired)
		w.withdraw("a")
		w.selects("v1", skerry.CauseExpired)
		w.selects("v2", skerry.CauseDeregistered)
		w.selects("v3", skerry.CauseDeregistered) // as of the whole service
		w.lease("b", 48*time.Hour, node("n")).with(inst("other", "web")).announce()
		w.selects("v1", skerry.CauseExpired)
		w.clock.pass(25 * time.Hour)
		w.c.Tick()
		w.lease("b2", 48*time.Hour, node("o")).with(inst("another", "web")).announce()
		w.selects("v1", skerry.CauseFiltered) // forgotten
	}},
}
