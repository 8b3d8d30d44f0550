package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

// regs makes registrations with a TTL check each; all lists and maps are empty,
// not nil, as a decoder may leave them.
func regs(ids ...string) []skerry.Registration {
	var out []skerry.Registration
	for _, id := range ids {
		out = append(out, skerry.Registration{
			Instance: &skerry.Instance{ID: id, Service: "web", Tags: []string{}, Meta: map[string]string{}, TaggedAddresses: map[string]skerry.Endpoint{},
				Extra: &skerry.Extra{Ports: []skerry.NamedPort{}}},
			Checks: []skerry.CheckDefinition{{TTL: time.Minute, Header: map[string][]string{}, Args: []string{}}},
		})
	}
	return out
}

func (r *rig) replaceSet(want bool, ids ...string) {
	r.Helper()
	changed, err := r.ReplaceSet(r.ctx(), regs(ids...))
	r.ok(err)
	if changed != want {
		r.Errorf("changed is %v, want %v", changed, want)
	}
}

func TestReplaceSet(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.replaceSet(true, "a", "b")
		r.has("a service:a; b service:b")
		r.beat("service:a", skerry.Passing, "")
		r.quiet("the same set", func() { r.replaceSet(false, "a", "b"); r.replaceSet(false, "b", "a") })
		pass(50 * time.Second)
		r.quiet("the same set", func() { r.replaceSet(false, "a", "b") })
		pass(20 * time.Second)
		r.is("service:a", "critical TTL expired") // a set that is there is no beat
		r.beat("service:a", skerry.Passing, "")
		r.replaceSet(true, "a", "c")
		r.has("a service:a; c service:c")
		r.is("service:a", "passing ")
		r.restart(0)
		r.quiet("the same set after a restart", func() { r.replaceSet(false, "a", "c") })
		r.is("service:a", "passing ")
		r.replaceSet(true)
		r.has("")
		r.replaceSet(false)
	})
}

func TestReplaceSetLeavesWhatOthersRegistered(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.ok(r.Configure(r.ctx(), regs("conf"), []skerry.CheckDefinition{{Name: "disk", TTL: time.Minute}}))
		r.ok(r.Drop(r.ctx(), "x.json", regs("dropped"), nil))
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "mem", TTL: time.Minute}))
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "deep", ServiceID: "conf", TTL: time.Minute}))
		r.replaceSet(true, "a")
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "more", ServiceID: "a", TTL: time.Minute}))
		r.ok(r.SetMaintenance(r.ctx(), "a", true, ""))
		r.has("a _service_maintenance:a more service:a; conf deep service:conf; dropped service:dropped")
		r.replaceSet(true, "a") // "more" is not named
		r.has("a _service_maintenance:a service:a; conf deep service:conf; dropped service:dropped")
		r.is("mem", "critical ")
		r.is("disk", "critical ")
	})
}

func TestConfigure(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		disk := []skerry.CheckDefinition{{Name: "disk", TTL: time.Minute, Status: skerry.Passing}, {Name: "deep", ServiceID: "a", HTTP: "http://deep", Interval: time.Second}}
		r.ok(r.Configure(r.ctx(), regs("a", "b"), disk))
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "api", ServiceID: "a", TTL: time.Minute}))
		r.register(web())
		synctest.Wait()
		r.quiet("the same configuration", func() { r.ok(r.Configure(r.ctx(), regs("a", "b"), disk)) })
		r.restart(0)
		r.quiet("the same configuration after a restart", func() { r.ok(r.Configure(r.ctx(), regs("a", "b"), disk)) })
		r.has("a api deep service:a; b service:b; web-1")

		changed := regs("a")
		changed[0].Instance.Port = 8080
		r.ok(r.Configure(r.ctx(), changed, nil))
		r.has("a api service:a; web-1") // what a program registered for it survives
		r.is("disk", "none")
		r.ok(r.Configure(r.ctx(), nil, nil))
		r.has("web-1")
	})
}

func TestScriptsFromFilesAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		rs := regs("a")
		rs[0].Checks = []skerry.CheckDefinition{{Args: []string{"probe"}, Interval: time.Second}}
		r.ok(r.Configure(r.ctx(), rs, nil))
		_, err := r.ReplaceSet(r.ctx(), rs)
		r.fails(skerry.Denied, err)
	})
}

func TestSourcesOfOneID(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		port := func(want int) {
			t.Helper()
			if i, _, _ := r.Instance("a"); i == nil || i.Port != want {
				t.Errorf("a is %+v, want port %d", i, want)
			}
		}
		r.ok(r.Configure(r.ctx(), regs("a"), nil))
		api := *regs("a")[0].Instance
		api.Port = 99
		r.register(api)
		port(99)
		r.ok(r.Configure(r.ctx(), regs("a"), nil)) // a reload: the file wins
		port(0)
		r.register(api)
		r.ok(r.Configure(r.ctx(), nil, nil)) // it is the program's now
		port(99)
		r.ok(r.Configure(r.ctx(), regs("a"), nil))
		r.ok(r.DeregisterService(r.ctx(), "a"))
		r.has("")
		r.ok(r.Configure(r.ctx(), regs("a"), nil))
		r.has("a service:a")
		r.crash(0)
		r.has("a service:a")
		r.ok(r.Configure(r.ctx(), nil, nil))
		r.has("")
	})
}

func TestAMovedCheckIsAnnouncedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		deep := skerry.CheckDefinition{Name: "deep", ServiceID: "a", TTL: time.Minute}
		r.ok(r.Configure(r.ctx(), regs("a"), []skerry.CheckDefinition{deep}))
		tagged := regs("a")
		tagged[0].Instance.Tags = []string{"v2"}
		deep.TTL = time.Hour
		r.ok(r.Configure(r.ctx(), tagged, []skerry.CheckDefinition{deep}))
		r.is("deep", "critical ")
		r.is("service:a", "critical ")
		if v := r.table.Service("web"); len(v.Entries[0].Instance.Tags) != 1 {
			t.Error("the catalog did not follow")
		}
	})
}

func TestDroppedFiles(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.ok(r.Drop(r.ctx(), "b.json", regs("b"), nil))
		r.ok(r.Drop(r.ctx(), "a.json", regs("a1", "a2"), nil))
		r.ok(r.Drop(r.ctx(), "c.json", nil, []skerry.CheckDefinition{{Name: "disk", TTL: time.Minute}}))
		r.crash(0)
		if got := r.Dropped(); !slices.Equal(got, []string{"a.json", "b.json", "c.json"}) {
			t.Errorf("dropped are %v", got)
		}
		r.quiet("the same file", func() { r.ok(r.Drop(r.ctx(), "b.json", regs("b"), nil)) })
		r.ok(r.Drop(r.ctx(), "a.json", regs("a2"), nil))
		r.has("a2 service:a2; b service:b")
		r.ok(r.Drop(r.ctx(), "b.json", nil, nil))
		r.ok(r.Drop(r.ctx(), "c.json", nil, nil))
		r.has("a2 service:a2")
		r.is("disk", "none")
	})
}
