package catalogtest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// Cluster is catalogs that show the same once all is quiet.
type Cluster struct {
	// Carriers are the places where owners announce: at least one.
	Carriers []skerry.Carrier
	// Catalogs are the places where readers read: at least one.
	Catalogs []skerry.Catalog
	// Settle lets time pass until nothing is under way.
	Settle func()
}

// Form makes a cluster of empty catalogs. Its catalogs must use the clock in cfg, which
// moves by pass, and end with t.
type Form func(t *testing.T, cfg catalog.Config, pass func(time.Duration)) Cluster

// RunEventually tests the promises that hold once all is quiet.
func RunEventually(t *testing.T, form Form) {
	for _, p := range []struct {
		name string
		test func(e *eventual)
	}{
		{"a change is shown everywhere", func(e *eventual) {
			a := e.owner("a", skerry.AgentOwner, node("n"))
			a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("x", "web", "v1")}})
			e.shows()
			a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("x", "web", "v2"), inst("y", "db", "v1")}})
			e.shows()
		}},
		{"a removed instance is shown nowhere", func(e *eventual) {
			a := e.owner("a", skerry.AgentOwner, node("n"))
			a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("x", "web", "v1")}})
			a.change(&skerry.Set{Node: node("n")})
			e.shows()
		}},
		{"an owner goes on at another place", func(e *eventual) {
			a := e.owner("a", skerry.AgentOwner, node("n"))
			for range 2 * len(e.Carriers) {
				a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("x", "web", "v1")}})
				a.move()
				a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("y", "web", "v2")}})
				e.shows()
			}
		}},
		{"a restarted owner's set replaces the one before", func(e *eventual) {
			a := e.owner("a", skerry.AgentOwner, node("n"))
			a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("x", "web", "v1")}})
			a.version = skerry.Version{Epoch: a.version.Epoch + 1}
			a.set = skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("z", "db", "v1")}}
			a.move()
			e.shows()
		}},
		{"a change wakes watchers everywhere", func(e *eventual) {
			a := e.owner("a", skerry.AgentOwner, node("n"))
			e.Settle()
			topic := skerry.Topic{Kind: skerry.TopicService, Name: "web"}
			var waits []<-chan struct{}
			for _, c := range e.Catalogs {
				_, changed := c.Watch(topic)
				waits = append(waits, changed)
			}
			a.change(&skerry.Set{Node: node("n"), Instances: []*skerry.Instance{inst("x", "web", "v1")}})
			e.Settle()
			for i, changed := range waits {
				select {
				case <-changed:
				default:
					e.Errorf("catalog %d woke no watcher", i)
				}
			}
		}},
	} {
		t.Run(p.name, func(t *testing.T) { p.test(newEventual(t, t, form)) })
	}
	t.Run("histories", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { histories(newEventual(t, r, form), r) })
	})
}

// histories lets several owners change their sets and move between places.
func histories(e *eventual, r *rapid.T) {
	e.owner("a1", skerry.AgentOwner, node("n1"))
	e.owner("a2", skerry.AgentOwner, node("n2"))
	e.owner("e1", skerry.ExternalOwner, node("n1"))
	for range rapid.IntRange(1, 30).Draw(r, "steps") {
		o := rapid.SampledFrom(e.owners).Draw(r, "who")
		switch rapid.SampledFrom([]string{"change", "change", "change", "move", "settle"}).Draw(r, "what") {
		case "change":
			o.change(draw(r, &o.party))
		case "move":
			o.move()
		case "settle":
			e.Settle()
		}
	}
	e.shows()
}

// eventual is a cluster with its owners.
type eventual struct {
	failer
	Cluster
	owners []*announcing
}

func newEventual(t *testing.T, f failer, form Form) *eventual {
	c := &clock{now: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)}
	cfg := catalog.Config{Now: c.Now, After: c.After, Coalesce: coalesce, OutputEvery: outputEvery}
	return &eventual{failer: f, Cluster: form(t, cfg, c.pass)}
}

// announcing is an owner behind an outbox. It implements [skerry.Source].
type announcing struct {
	party
	e   *eventual
	at  int // of e.Carriers
	out skerry.Outbox
}

func (e *eventual) owner(id string, kind skerry.OwnerKind, n *skerry.Node) *announcing {
	a := &announcing{e: e, party: party{id: skerry.OwnerID(id), kind: kind, version: skerry.Version{Epoch: 1, Seq: 1}, set: skerry.Set{Node: n}}}
	e.owners = append(e.owners, a)
	a.out = e.Carriers[0].Carry(a.id, kind, 0, a)
	return a
}

// Whole implements [skerry.Source].
func (a *announcing) Whole() (skerry.Version, uint64, *skerry.Set) {
	return a.version, a.set.Digest(), copySet(&a.set)
}

// change makes the set to, by a delta.
func (a *announcing) change(to *skerry.Set) {
	base, d := a.version, difference(&a.set, copySet(to))
	a.version.Seq++
	a.set = *to
	a.out.Changed(a.version, base, *d, to.Digest())
}

// move goes on at the next place.
func (a *announcing) move() {
	a.at = (a.at + 1) % len(a.e.Carriers)
	a.out = a.e.Carriers[a.at].Carry(a.id, a.kind, 0, a)
}

// shows checks that each catalog shows what the owners have, once all is quiet.
func (e *eventual) shows() {
	e.Helper()
	e.Settle()
	var parties []*party
	for _, o := range e.owners {
		parties = append(parties, &o.party)
	}
	want := expected(parties)
	for _, c := range e.Catalogs {
		compare(e, c, want)
	}
}
