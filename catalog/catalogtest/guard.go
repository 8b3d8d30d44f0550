package catalogtest

import (
	"fmt"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

var guardConfig = catalog.Config{Guard: catalog.Guard{Share: 0.5, Least: 3, Window: 30 * time.Second, Hold: 5 * time.Minute}}

// fleet announces leases p0, p1, …, each with an instance of web on a node of its own.
func (w *world) fleet(n int, zones ...string) []*party {
	var out []*party
	for i := range n {
		at := node(fmt.Sprintf("n%d", i))
		if len(zones) > 0 {
			at.Locality = &skerry.Locality{Zone: zones[i%len(zones)]}
		}
		p := w.lease(fmt.Sprintf("p%d", i), ttl, at).with(inst("x", "web"))
		p.announce()
		out = append(out, p)
	}
	return out
}

// silence lets time pass in which only these beat, every second.
func (w *world) silence(d time.Duration, alive ...*party) []skerry.OwnerID {
	w.Helper()
	var lost []skerry.OwnerID
	for ; d > 0; d -= time.Second {
		for _, p := range alive {
			w.must(skerry.Unchanged, p.beat())
		}
		lost = append(lost, w.run(time.Second)...)
	}
	return lost
}

func (w *world) held(owners, entries int) {
	w.Helper()
	v := w.c.Service("web")
	marked := 0
	for _, e := range v.Entries {
		if e.Guarded {
			marked++
		}
	}
	if w.judge.Held() != owners || v.Guarded != entries || marked != entries {
		w.Errorf("%d owners and %d entries (%d marked) are held, want %d and %d", w.judge.Held(), v.Guarded, marked, owners, entries)
	}
	want := skerry.CauseNone
	if entries > 0 {
		want = skerry.CauseGuarded
	}
	if len(v.Entries) > 0 {
		w.cause("web", want)
	}
}

var guardProofs = []proof{
	{name: "most fall silent at once: they are held as they were", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(6)
		web := w.watch(skerry.TopicService, "web")
		w.lost(w.silence(12*time.Second, ps[:2]...))
		w.wakes(web, "the guard")
		w.held(4, 4)
		if n := len(w.c.Service("web").Entries); n != 6 {
			w.Errorf("%d entries are served, want all 6", n)
		}
	}},
	{name: "all fall silent", cfg: guardConfig, test: func(w *world) {
		w.fleet(3)
		w.lost(w.silence(20 * time.Second))
		w.held(3, 3)
	}},
	{name: "a share that independent failures explain expires", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(6)
		w.lost(w.silence(12*time.Second, ps[:3]...), "p3", "p4", "p5")
		w.held(0, 0)
		w.shows("web", "n0/x; n1/x; n2/x")
	}},
	{name: "fewer than the least expire", cfg: guardConfig, test: func(w *world) {
		w.fleet(2)
		w.lost(w.silence(12*time.Second), "p0", "p1")
		w.cause("web", skerry.CauseExpired)
	}},
	{name: "one after another within the window adds up", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(5)
		w.lost(w.silence(12*time.Second, ps[:4]...), "p4")
		w.lost(w.silence(12*time.Second, ps[:3]...), "p3")
		w.lost(w.silence(12*time.Second, ps[:2]...))
		w.held(1, 1)
	}},
	{name: "losses past the window do not count", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(5)
		for i := 4; i >= 2; i-- {
			w.lost(w.silence(12*time.Second, ps[:i]...), ps[i].id)
			w.lost(w.silence(35*time.Second, ps[:i]...))
		}
	}},
	{name: "an owner counts once, however many instances it has", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(4)
		many := w.lease("many", ttl, node("many")).with(inst("1", "web"), inst("2", "web"), inst("3", "web"), inst("4", "web"))
		many.announce()
		w.lost(w.silence(12*time.Second, ps...), "many")
		w.lost(w.silence(12*time.Second, ps[:3]...), "p3")
	}},
	{name: "an owner that came back does not count", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(4)
		for range 3 { // one that flaps
			w.lost(w.silence(12*time.Second, ps[:3]...), "p3")
			w.must(skerry.Applied, w.announce(ps[3].whole()))
		}
		w.lost(w.silence(12*time.Second, ps[0], ps[1], ps[3]), "p2")
		w.held(0, 0)
	}},
	{name: "a zone that goes dark is held", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(9, "a", "b", "c") // p0, p3, p6 are in a
		alive := []*party{ps[1], ps[2], ps[4], ps[5], ps[7], ps[8]}
		w.lost(w.silence(12*time.Second, alive...))
		w.held(3, 3)
	}},
	{name: "the hold ends", cfg: guardConfig, test: func(w *world) {
		w.fleet(3)
		w.lost(w.silence(5 * time.Minute))
		w.lost(w.silence(20*time.Second), "p0", "p1", "p2")
		w.held(0, 0)
		w.cause("web", skerry.CauseExpired)
	}},
	{name: "return ends it for the owner that returns", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(4)
		w.silence(12 * time.Second)
		w.held(4, 4)
		web := w.watch(skerry.TopicService, "web")
		w.must(skerry.Unchanged, ps[0].beat())
		w.wakes(web, "a return")
		w.held(3, 3)
		w.must(skerry.Unchanged, w.announce(ps[1].whole()))
		ps[2].version = skerry.Version{Epoch: 2}
		w.must(skerry.Unchanged, ps[2].announce())
		w.held(1, 1)
		w.lost(w.silence(ttl-2*time.Second, ps[0]))
		w.held(1, 1)
	}},
	{name: "release", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(4)
		w.silence(12*time.Second, ps[0])
		w.held(3, 3)
		w.lost(w.judge.Release(func(id skerry.OwnerID) bool { return id == "p0" || id == "p2" }), "p2")
		w.held(2, 2)
		all := func(skerry.OwnerID) bool { return true }
		w.lost(w.judge.Release(all), "p1", "p3")
		w.held(0, 0)
		w.shows("web", "n0/x")
		w.lost(w.judge.Release(all))
	}},
	{name: "explicit withdrawal passes at once", cfg: guardConfig, test: func(w *world) {
		ps := w.fleet(4)
		w.silence(12 * time.Second)
		w.withdraw("p0")
		w.held(3, 3)
		ps[1].with().announce()
		w.held(2, 2)
		for _, p := range ps[1:] {
			w.withdraw(p.id)
		}
		w.held(0, 0)
		w.cause("web", skerry.CauseDeregistered)
	}},
	{name: "off", cfg: catalog.Config{Guard: catalog.Guard{Share: 1}}, test: func(w *world) {
		w.fleet(5)
		w.lost(w.silence(12*time.Second), "p0", "p1", "p2", "p3", "p4")
	}},
	{name: "the guard counts a service's owners whatever spelling they have", cfg: catalog.Config{Guard: catalog.Guard{Least: 3}}, test: func(w *world) {
		for i, name := range []string{"web", "Web", "WEB"} {
			id := fmt.Sprint("l", i)
			w.lease(id, 9*time.Second, node(id)).with(inst(id, name)).announce()
		}
		w.run(10 * time.Second)
		if n := len(w.c.Service("web").Entries); n != 3 || w.judge.Held() != 3 {
			w.Errorf("%d instances are left of 3, %d held", n, w.judge.Held())
		}
	}},
}
