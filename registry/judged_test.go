package registry_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/registry"
)

// verdicts are the names that the holders of tokens may write, separated by spaces.
type verdicts struct {
	index  uint64
	tokens map[string]string
}

func (v *verdicts) Index() uint64 { return v.index }

func (v *verdicts) MayWrite(token string, r skerry.Resource, name string) error {
	if slices.Contains(strings.Fields(v.tokens[token]), name) {
		return nil
	}
	return skerry.Errorf(skerry.Denied, "the token lacks %s:write on %q", r, name)
}

func (v *verdicts) set(token, names string) {
	v.tokens[token] = names
	v.index++
}

const judgedNode = "web1"

// announcer is the agent's side: a set, the tokens of its services, and a stream.
type announcer struct {
	*testing.T
	s        *server
	by       *verdicts
	speaker  *registry.Speaker
	now      time.Time
	id       skerry.OwnerID
	version  skerry.Version
	attached uint64
	node     string            // the token
	tokens   map[string]string // by instance ID
	set      *skerry.Set
	refused  []cluster.Refusal
	wholes   int
}

func newAnnouncer(t *testing.T, by *verdicts) *announcer {
	a := &announcer{
		T: t, by: by, id: "agent/" + judgedNode, version: skerry.Version{Epoch: 1, Seq: 1}, node: "node", tokens: map[string]string{},
		set: &skerry.Set{Node: &skerry.Node{Name: judgedNode, Address: "192.0.2.1"}}, now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}
	a.s = newServer("s1", 1, catalog.Config{Now: func() time.Time { return a.now }, After: func(_ time.Duration, f func()) { f() }})
	a.s.Tick()
	a.open()
	return a
}

// open opens a stream.
func (a *announcer) open() {
	a.speaker = a.s.Speaker(a.id, judgedNode)
	a.speaker.JudgeBy(a.by)
}

func (a *announcer) say(m cluster.Message) cluster.Message {
	a.Helper()
	data, err := registry.Encode(m)
	if err == nil {
		data, err = a.speaker.Hear(data)
	}
	if err != nil {
		a.Fatal(err)
	}
	answer, err := registry.DecodeFrame(data)
	if err != nil {
		a.Fatal(err)
	}
	return answer
}

func (a *announcer) grants(of []*skerry.Instance) *cluster.Grants {
	g := &cluster.Grants{Node: a.node, Default: "default", Instances: map[string]string{}}
	for _, i := range of {
		if token := a.tokens[i.ID]; token != "" {
			g.Instances[i.ID] = token
		}
	}
	return g
}

// attach attaches over the present stream.
func (a *announcer) attach() cluster.Attached {
	a.Helper()
	a.attached++
	answer := a.say(cluster.Attach{
		Owner: a.id, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: a.version, Digest: a.set.Digest(), Attach: a.attached, Grants: a.grants(nil),
	}).(cluster.Attached)
	if answer.Want {
		a.whole()
	}
	return answer
}

func (a *announcer) record() cluster.Record {
	return cluster.Record{Owner: a.id, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: a.version, Digest: a.set.Digest()}
}

func (a *announcer) whole() {
	a.Helper()
	a.wholes++
	r := a.record()
	r.Set = a.set
	a.told(a.say(cluster.Announce{Record: r, Grants: a.grants(a.set.Instances)}).(cluster.Told))
}

// change announces a delta that was applied to the set already.
func (a *announcer) change(d skerry.Delta) {
	a.Helper()
	base := a.version
	a.version.Seq++
	r := a.record()
	r.Base, r.Delta = base, &d
	m := cluster.Announce{Record: r}
	if len(d.Instances) > 0 {
		m.Grants = a.grants(d.Instances)
	}
	a.told(a.say(m).(cluster.Told))
}

func (a *announcer) told(t cluster.Told) {
	a.Helper()
	a.refused = t.Refused
	switch {
	case t.Want:
		a.whole()
	case t.Again:
		a.version.Seq++
		a.whole()
	case t.Version != a.version:
		a.Fatalf("told of %v at %v", t.Version, a.version)
	}
}

func (a *announcer) beat() cluster.Beaten {
	a.Helper()
	a.now = a.now.Add(time.Second)
	a.s.Tick()
	b := a.say(cluster.Beat{Owner: a.id, Epoch: 1, Attach: a.attached, Digest: a.set.Digest()}).(cluster.Beaten)
	if b.OK && b.Want {
		a.Fatalf("the digests differ: %+v", b)
	}
	if b.Again {
		a.version.Seq++
		a.whole()
	}
	return b
}

// put registers an instance with a check.
func (a *announcer) put(id, service, token string) {
	a.Helper()
	a.tokens[id] = token
	i := &skerry.Instance{ID: id, Service: service}
	a.set.Instances = append(slices.DeleteFunc(a.set.Instances, func(i *skerry.Instance) bool { return i.ID == id }), i)
	d := skerry.Delta{Instances: []*skerry.Instance{i}}
	old := slices.IndexFunc(a.set.Checks, func(c *skerry.Check) bool { return c.ServiceID == id })
	if old < 0 || a.set.Checks[old].ServiceName != service { // as an agent does: a check that stays is not said again
		if old >= 0 {
			a.set.Checks = slices.Delete(a.set.Checks, old, old+1)
		}
		c := &skerry.Check{ID: "c-" + id, ServiceID: id, ServiceName: service, Status: skerry.Passing}
		a.set.Checks, d.Checks = append(a.set.Checks, c), []*skerry.Check{c}
	}
	a.change(d)
}

func (a *announcer) remove(id string) {
	a.Helper()
	a.set.Instances = slices.DeleteFunc(a.set.Instances, func(i *skerry.Instance) bool { return i.ID == id })
	a.set.Checks = slices.DeleteFunc(a.set.Checks, func(c *skerry.Check) bool { return c.ServiceID == id })
	a.change(skerry.Delta{RemovedInstances: []string{id}, RemovedChecks: []string{"c-" + id}})
}

// flap turns the state of a check.
func (a *announcer) flap(n int) {
	a.Helper()
	c := *a.set.Checks[n]
	c.Output, c.Status = c.Output+"x", map[skerry.Health]skerry.Health{skerry.Passing: skerry.Critical, skerry.Critical: skerry.Passing}[c.Status]
	a.set.Checks[n] = &c
	a.change(skerry.Delta{Checks: []*skerry.Check{&c}})
}

// shown returns the instances and checks that the catalog has, ordered.
func (a *announcer) shown() string {
	return listed(a.s.table.Whole(a.id))
}

func listed(set *skerry.Set) string {
	var out []string
	if set != nil {
		for _, i := range set.Instances {
			out = append(out, i.ID+"="+i.Service)
		}
		for _, c := range set.Checks {
			out = append(out, c.ID+"="+c.ServiceName+":"+string(c.Status))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// allowed is what shown has to be.
func (a *announcer) allowed() string {
	out, shown := &skerry.Set{}, map[string]bool{}
	for _, i := range a.set.Instances {
		if a.by.MayWrite(cmp.Or(a.tokens[i.ID], "default"), skerry.ResourceService, i.Service) == nil {
			out.Instances, shown[i.ID] = append(out.Instances, i), true
		}
	}
	for _, c := range a.set.Checks {
		if shown[c.ServiceID] {
			out.Checks = append(out.Checks, c)
		}
	}
	return listed(out)
}

func (a *announcer) wantShown(want string) {
	a.Helper()
	if got := a.shown(); got != want {
		a.Errorf("shown: %q, want %q", got, want)
	}
}

func TestServicesAreJudgedByTheirTokens(t *testing.T) {
	a := newAnnouncer(t, &verdicts{tokens: map[string]string{"node": judgedNode, "default": "log", "t": "web"}})
	if got := a.attach(); !got.OK {
		t.Fatalf("attached: %+v", got)
	}
	a.put("web", "web", "t")
	a.put("log", "log", "")
	a.put("db", "db", "t")
	a.wantShown("c-log=log:passing c-web=web:passing log=log web=web")
	if len(a.refused) != 1 || a.refused[0].Service != "db" || !strings.Contains(a.refused[0].Why, "service:write") {
		t.Errorf("refused: %+v", a.refused)
	}
	a.flap(2) // of the service that is left out
	a.wantShown("c-log=log:passing c-web=web:passing log=log web=web")
	wholes := a.wholes
	for range 40 {
		a.beat()
	}
	if a.wholes != wholes {
		t.Errorf("the set was sent %d times though nothing moved", a.wholes-wholes)
	}
	a.by.set("t", "web db")
	a.beat()
	a.wantShown("c-db=db:critical c-log=log:passing c-web=web:passing db=db log=log web=web")
	if len(a.refused) != 0 {
		t.Errorf("refused: %+v", a.refused)
	}
	a.by.set("t", "db")
	a.beat()
	a.wantShown("c-db=db:critical c-log=log:passing db=db log=log")
	a.put("web", "web", "u") // with another token
	a.by.set("u", "web")
	a.beat()
	a.wantShown("c-db=db:critical c-log=log:passing c-web=web:passing db=db log=log web=web")
	a.remove("db")
	a.wantShown("c-log=log:passing c-web=web:passing log=log web=web")
}

// A token that expires does not move the index.
func TestVerdictsAreMadeAnewWithoutAChange(t *testing.T) {
	a := newAnnouncer(t, &verdicts{tokens: map[string]string{"node": judgedNode, "t": "web"}})
	a.attach()
	a.put("web", "web", "t")
	delete(a.by.tokens, "t")
	for range 31 {
		a.beat()
	}
	a.wantShown("")
}

// An agent that may not write its node shows nothing, also if it does not ask before.
func TestTheNodeIsJudged(t *testing.T) {
	a := newAnnouncer(t, &verdicts{tokens: map[string]string{"node": "web2", "default": "web"}})
	if got := a.attach(); got.OK || !strings.Contains(got.Refused, `node:write on "web1"`) {
		t.Errorf("attached: %+v", got)
	}
	r := a.record()
	r.Set = a.set
	if got := a.say(cluster.Announce{Record: r, Grants: a.grants(nil)}); got.(cluster.Told).Version == a.version {
		t.Errorf("an announcement without an attachment: %+v", got)
	}
	r.Set, r.Gone = nil, true
	a.say(cluster.Announce{Record: r})
	if got := a.say(cluster.Beat{Owner: a.id, Attach: 1}); !got.(cluster.Beaten).Reattach {
		t.Errorf("a beat without an attachment: %+v", got)
	}
	if v, _, known := a.s.Known(a.id); known {
		t.Errorf("the owner is known at %v", v)
	}
	a.by.set("node", judgedNode)
	if got := a.attach(); !got.OK {
		t.Errorf("attached: %+v", got)
	}
	a.put("web", "web", "")
	a.wantShown("c-web=web:passing web=web")
	// Another process of that name cannot go on where this one is.
	ours := a.speaker
	a.open()
	a.version.Seq++
	r = a.record()
	r.Gone = true
	a.say(cluster.Announce{Record: r})
	a.version.Seq--
	a.speaker = ours
	a.wantShown("c-web=web:passing web=web")
	a.by.set("node", "")
	if b := a.beat(); !b.Reattach {
		t.Errorf("a beat after the loss of the right: %+v", b)
	}
	if b := a.beat(); !b.Reattach {
		t.Errorf("the next one: %+v", b)
	}
}

// A compromised agent gives a check the name of another service.
func TestAChecksServiceIsItsInstances(t *testing.T) {
	a := newAnnouncer(t, &verdicts{tokens: map[string]string{"node": judgedNode, "default": "web"}})
	a.attach()
	a.put("web", "web", "")
	for _, c := range []*skerry.Check{{ID: "x", ServiceID: "web", ServiceName: "db"}, {ID: "x", ServiceName: "db"}, {ID: "x", ServiceID: "none"}} {
		a.change(skerry.Delta{Checks: []*skerry.Check{c}})
		a.wantShown("c-web=web:passing web=web")
	}
	a.change(skerry.Delta{Checks: []*skerry.Check{{ID: "x", Status: skerry.Passing}}})
	a.wantShown("c-web=web:passing web=web x=:passing")
}

// Whatever comes in whatever order: after a beat the catalog has what the tokens allow, and nothing else.
func TestWhatIsShownIsWhatIsAllowed(t *testing.T) {
	names := []string{"web", "db", "log"}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
		a := newAnnouncer(t, &verdicts{tokens: map[string]string{"node": judgedNode, "default": pick(names...), "t": pick(names...), "u": "web db"}})
		a.attach()
		for step := range 60 {
			switch rnd.IntN(8) {
			case 0, 1, 2:
				a.put(pick("1", "2", "3", "4"), pick(names...), pick("", "t", "u"))
			case 3:
				a.remove(pick("1", "2", "3", "4"))
			case 4:
				a.by.set(pick("default", "t", "u"), strings.Join(names[:rnd.IntN(4)], " "))
			case 5:
				if len(a.set.Checks) > 0 {
					a.flap(rnd.IntN(len(a.set.Checks)))
				}
			case 6: // the stream breaks
				a.open()
				a.attach()
			case 7:
				a.beat()
			}
			if rnd.IntN(4) == 0 {
				a.beat()
				if got, want := a.shown(), a.allowed(); got != want {
					t.Fatalf("seed %d, step %d: shown %q, allowed %q", seed, step, got, want)
				}
			}
		}
	}
}

func TestGrantsHideSecrets(t *testing.T) {
	g := &cluster.Grants{Node: "secret1", Default: "secret2", Instances: map[string]string{"web": "secret3"}}
	for _, text := range []string{fmt.Sprint(g), fmt.Sprintf("%v %+v %#v", g, g, g.String()), errors.New(g.String()).Error()} {
		if strings.Contains(text, "secret") {
			t.Errorf("%s", text)
		}
	}
}
