package catalogtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// converge plays random histories of several owners over a network that loses,
// doubles and reorders what they say, and compares what the catalog shows in the
// end with a model that knows only the last sets. On the way it checks that
// nothing that a reader sees changes without its index, and no index without a change.
func converge(t *testing.T, open Open) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, open, catalog.Config{})
		w.failer = r
		s := &story{world: w, r: r}
		for _, p := range []struct {
			id   string
			kind skerry.OwnerKind
			node string
		}{{"a1", skerry.AgentOwner, "n1"}, {"a2", skerry.AgentOwner, "n2"}, {"l1", skerry.LeaseOwner, "n1"}, {"l2", skerry.LeaseOwner, "N2"}, {"e1", skerry.ExternalOwner, "n1"}, {"e2", skerry.ExternalOwner, "n3"}} {
			q := w.agent(p.id, node(p.node))
			q.kind = p.kind
			if p.kind == skerry.LeaseOwner {
				q.ttl = 1e15 // this is not about expiry
			}
			s.parties = append(s.parties, q)
		}
		steps := rapid.IntRange(5, 60).Draw(r, "steps")
		for range steps {
			s.step()
		}
		s.settle()
		s.compare()
	})
}

type story struct {
	*world
	r       *rapid.T
	parties []*party
	flying  []skerry.Announcement
	last    []skerry.Announcement // delivered before: they may come again
}

func (s *story) step() {
	p := rapid.SampledFrom(s.parties).Draw(s.r, "who")
	switch action := rapid.SampledFrom([]string{"change", "change", "deliver", "deliver", "deliver", "again", "lose", "restart", "withdraw"}).Draw(s.r, "what"); action {
	case "change":
		s.change(p)
	case "deliver":
		if len(s.flying) > 0 {
			i := rapid.IntRange(0, len(s.flying)-1).Draw(s.r, "which")
			a := s.flying[i]
			s.flying = slices.Delete(s.flying, i, i+1)
			s.deliver(a)
		}
	case "again":
		if len(s.last) > 0 {
			s.deliver(rapid.SampledFrom(s.last).Draw(s.r, "again"))
		}
	case "lose":
		if len(s.flying) > 0 {
			s.flying = s.flying[1:]
		}
	case "restart":
		p.version = skerry.Version{Epoch: p.version.Epoch + 1, Seq: 1}
		s.flying = append(s.flying, p.whole())
	case "withdraw":
		// Earlier announcements are behind it or lost; delivered ones may come again.
		s.flying = slices.DeleteFunc(s.flying, func(a skerry.Announcement) bool { return a.Owner == p.id })
		s.last = slices.DeleteFunc(s.last, func(a skerry.Announcement) bool { return a.Owner == p.id })
		p.version.Seq++
		s.observe(func() skerry.Outcome { s.c.Withdraw(p.id, p.version); return skerry.Applied })
		p.with()
	}
}

// change draws the owner's next set and says it as a delta or as a whole.
func (s *story) change(p *party) {
	old := copySet(&p.set)
	base := p.version
	p.version.Seq++
	p.set = *draw(s.r, p)
	if rapid.Bool().Draw(s.r, "as delta") {
		s.flying = append(s.flying, skerry.Announcement{Owner: p.id, Kind: p.kind, TTL: p.ttl, Version: p.version, Base: base, Delta: difference(old, copySet(&p.set)), Digest: p.set.Digest()})
		return
	}
	s.flying = append(s.flying, p.whole())
}

// draw returns a random set for an owner.
func draw(r *rapid.T, p *party) *skerry.Set {
	pick := func(from ...string) string { return rapid.SampledFrom(from).Draw(r, "pick") }
	set := &skerry.Set{Node: node(p.set.Node.Name)}
	if pick("stay", "stay", "stay", "stay", "move") == "move" {
		set.Node.Name = pick("n1", "n2", "N2", "n3")
	}
	set.Node.Address = "192.0.2." + pick("1", "2")
	for _, id := range []string{"x", "y", "z"} {
		if service := pick("", "web", "web", "db", "api"); service != "" {
			set.Instances = append(set.Instances, inst(id, service, pick("v1", "v2")))
		}
	}
	for _, id := range []string{"c", "d", "e"} {
		if status := pick("", "passing", "warning", "critical"); status != "" {
			c := chk(id, pick("", "x", "y", "z"), skerry.Health(status))
			c.Output = pick("", "fine", "late")
			set.Checks = append(set.Checks, c)
		}
	}
	return set
}

func difference(from, to *skerry.Set) *skerry.Delta {
	d := &skerry.Delta{Node: to.Node, Instances: to.Instances, Checks: to.Checks}
	for _, i := range from.Instances {
		if !slices.ContainsFunc(to.Instances, func(k *skerry.Instance) bool { return k.ID == i.ID }) {
			d.RemovedInstances = append(d.RemovedInstances, i.ID)
		}
	}
	for _, c := range from.Checks {
		if !slices.ContainsFunc(to.Checks, func(k *skerry.Check) bool { return k.ID == c.ID }) {
			d.RemovedChecks = append(d.RemovedChecks, c.ID)
		}
	}
	return d
}

func (s *story) deliver(a skerry.Announcement) {
	s.last = append(s.last, a)
	if s.observe(func() skerry.Outcome { return s.announce(a) }) == skerry.Resend {
		for _, p := range s.parties {
			if p.id == a.Owner {
				s.flying = append(s.flying, p.whole())
			}
		}
	}
}

// observe checks that views and their indexes change together.
func (s *story) observe(do func() skerry.Outcome) skerry.Outcome {
	seen := func() (views map[skerry.Topic]string, indexes map[skerry.Topic]uint64) {
		views, indexes = map[skerry.Topic]string{}, map[skerry.Topic]uint64{}
		shown := s.shown()
		for _, name := range []string{"web", "db", "api"} {
			topic := skerry.Topic{Kind: skerry.TopicService, Name: name}
			indexes[topic], _ = s.c.Watch(topic)
			views[topic] = shown["service "+name]
		}
		for _, name := range []string{"n1", "n2", "n3"} {
			topic := skerry.Topic{Kind: skerry.TopicNode, Name: name}
			indexes[topic], _ = s.c.Watch(topic)
			views[topic] = shown["node "+name]
		}
		return views, indexes
	}
	views, indexes := seen()
	before := s.c.Index()
	outcome := do()
	s.clock.pass(outputEvery)
	nowViews, nowIndexes := seen()
	for topic, view := range nowViews {
		if nowIndexes[topic] < indexes[topic] {
			s.Fatalf("the index of %v went from %d to %d", topic, indexes[topic], nowIndexes[topic])
		}
		if view != views[topic] && nowIndexes[topic] == indexes[topic] {
			s.Fatalf("%v changed without its index:\n%s\n%s", topic, views[topic], view)
		}
	}
	if outcome != skerry.Applied && s.c.Index() != before {
		s.Fatalf("an announcement with outcome %d moved the index", outcome)
	}
	return outcome
}

// settle lets every owner be heard in the end, with old announcements after it.
func (s *story) settle() {
	for _, p := range s.parties {
		if p.version.Seq == 0 {
			p.version.Seq = 1
		}
		if v, digest, _ := s.c.Known(p.id); v == (skerry.Version{}) || digest == 0 {
			p.version.Epoch++ // after a tombstone: a new start
		}
		if out := s.announce(p.whole()); out != skerry.Applied && out != skerry.Unchanged {
			s.Fatalf("the last word of %s was answered %d", p.id, out)
		}
	}
	for _, a := range slices.Concat(s.last, s.flying) {
		s.announce(a)
	}
	s.clock.pass(outputEvery)
}

func (s *story) compare() {
	compare(s, s.c, expected(s.parties))
	for _, p := range s.parties {
		mixed := copySet(&p.set)
		slices.Reverse(mixed.Instances)
		slices.Reverse(mixed.Checks)
		if _, digest, ok := s.c.Known(p.id); !ok || digest != mixed.Digest() {
			s.Fatalf("the digest of %s is not the one that it announced", p.id)
		}
	}
}

func (s *story) shown() map[string]string { return shownBy(s.c) }

// compare fails f where a catalog does not show want.
func compare(f failer, c skerry.Catalog, want map[string]string) {
	f.Helper()
	got := shownBy(c)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			f.Fatalf("%s is\n%s\nwant\n%s", key, got[key], want[key])
		}
	}
	if len(got) != len(want) {
		f.Fatalf("shown are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// shownBy returns all that a catalog shows, as text.
func shownBy(c skerry.Catalog) map[string]string {
	out := map[string]string{}
	for _, name := range c.Services() {
		var lines []string
		for _, e := range c.Service(name).Entries {
			line := fmt.Sprintf("%s %s %s %s %s %s:", e.Owner, e.Node.Name, e.Node.Address, e.Instance.ID, e.Instance.Tags[0], e.Health)
			for _, c := range e.Checks {
				line += checkLine(c)
			}
			lines = append(lines, line)
		}
		out["service "+name] = strings.Join(lines, "\n")
	}
	for _, v := range c.Nodes() {
		lines := []string{v.Node.Name + " " + v.Node.Address}
		for _, i := range v.Instances {
			lines = append(lines, i.ID+" "+i.Service+" "+i.Tags[0])
		}
		for _, c := range v.Checks {
			lines = append(lines, checkLine(c))
		}
		out["node "+strings.ToLower(v.Node.Name)] = strings.Join(lines, "\n")
	}
	return out
}

func checkLine(c *skerry.Check) string {
	return fmt.Sprintf(" %s@%s=%s", c.ID, c.ServiceID, c.Status)
}

// expected is what shown must be, worked out from the sets alone.
func expected(parties []*party) map[string]string {
	on := map[string][]*party{}
	for _, p := range parties {
		key := strings.ToLower(p.set.Node.Name)
		on[key] = append(on[key], p)
	}
	out := map[string]string{}
	services := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(on)) {
		out["node "+key] = expectedNode(on[key], services)
	}
	for name, lines := range services {
		out["service "+name] = strings.Join(lines, "\n")
	}
	return out
}

func expectedNode(ps []*party, services map[string][]string) string {
	slices.SortFunc(ps, func(a, b *party) int {
		if a, b := a.kind == skerry.ExternalOwner, b.kind == skerry.ExternalOwner; a != b {
			if a {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.id, b.id)
	})
	at := ps[0].set.Node
	instances, owners, checks := map[string]*skerry.Instance{}, map[string]skerry.OwnerID{}, map[string]*skerry.Check{}
	for _, p := range slices.Backward(ps) { // the first one writes last
		for _, i := range p.set.Instances {
			instances[i.ID], owners[i.ID] = i, p.id
		}
		for _, c := range p.set.Checks {
			checks[c.ID] = c
		}
	}
	lines := []string{at.Name + " " + at.Address}
	for _, id := range slices.Sorted(maps.Keys(instances)) {
		i := instances[id]
		lines = append(lines, id+" "+i.Service+" "+i.Tags[0])
		health, text := skerry.Passing, ""
		for _, serviceID := range []string{"", id} {
			for _, check := range slices.Sorted(maps.Keys(checks)) {
				if c := checks[check]; c.ServiceID == serviceID {
					health = health.Worse(c.Status)
					text += checkLine(c)
				}
			}
		}
		services[i.Service] = append(services[i.Service], fmt.Sprintf("%s %s %s %s %s %s:%s", owners[id], at.Name, at.Address, id, i.Tags[0], health, text))
	}
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		lines = append(lines, checkLine(checks[id]))
	}
	return strings.Join(lines, "\n")
}
