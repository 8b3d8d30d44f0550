package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

func TestDefaults(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(skerry.Instance{Service: "web"}, ttlCheck(time.Minute))
		r.register(skerry.Instance{ID: "db-1", Service: "db"}, ttlCheck(time.Minute), ttlCheck(time.Hour), skerry.CheckDefinition{ID: "own", Name: "mine", TTL: time.Minute})
		r.has("db-1 own service:db-1:1 service:db-1:2; web service:web")
		i, own, _ := r.Instance("web")
		if i.Weights != (skerry.Weights{Passing: 1, Warning: 1}) {
			t.Errorf("weights are %+v", i.Weights)
		}
		c := own[0]
		if c.Name != "Service 'web' check" || c.Status != skerry.Critical || c.ServiceName != "web" || c.Type != "ttl" || c.ServiceID != "web" {
			t.Errorf("check %+v", c)
		}
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "mem", TTL: time.Minute, Status: skerry.Passing}))
		r.is("mem", "passing ")
		if _, _, node := r.Instance("web"); len(node) != 1 || node[0].ID != "mem" {
			t.Errorf("checks of the node are %v", node)
		}
		if v := r.table.Service("web"); len(v.Entries) != 1 || len(v.Entries[0].Checks) != 3 {
			t.Errorf("the catalog shows %+v", v)
		}
		if len(r.table.Service("self").Entries) != 1 || len(r.Checks()) != 5 {
			t.Error("the process' own records are shown in the wrong place")
		}
	})
}

// An address that DNS cannot answer with is taken, and warned about once.
func TestAddressesThatDNSLeavesOut(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, step := range []struct {
			address string
			warned  int
		}{{"10.0.0.1", 0}, {"10.0.0.1:80", 1}, {"10.0.0.1:80", 1}, {"example.com", 1}, {"https://x", 2}} {
			r.register(skerry.Instance{Service: "web", Address: step.address})
			if n := r.logged.Count("level=WARN"); n != step.warned {
				t.Errorf("after %q there were %d warnings, want %d", step.address, n, step.warned)
			}
			if got := r.table.Service("web").Entries[0].Address(); got != step.address {
				t.Errorf("the address is %q, want %q", got, step.address)
			}
		}
		if r.logged.Count("give the port as Port") != 1 {
			t.Error("the fix is not named")
		}
	})
}

func TestRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "mem", TTL: time.Minute}))
		service := func(i skerry.Instance, checks ...skerry.CheckDefinition) error {
			return r.RegisterService(r.ctx(), skerry.Registration{Instance: &i, Checks: checks})
		}
		named := func(id string) skerry.CheckDefinition {
			return skerry.CheckDefinition{ID: id, Name: id, TTL: time.Minute}
		}
		r.quiet("a refused change", func() {
			r.fails(skerry.Invalid, r.RegisterService(r.ctx(), skerry.Registration{}))
			r.fails(skerry.Invalid, service(skerry.Instance{ID: "x"}))
			r.fails(skerry.Invalid, service(skerry.Instance{ID: "self", Service: "mine"}))
			r.fails(skerry.Invalid, service(web(), skerry.CheckDefinition{}))
			r.fails(skerry.Invalid, service(web(), named("a"), named("a")))
			r.fails(skerry.Denied, service(web(), skerry.CheckDefinition{Args: []string{"x"}, Interval: time.Second}))
			for _, id := range []string{"alive", skerry.NodeMaintenanceID, skerry.ServiceMaintenanceIDPrefix + "web-1"} {
				r.fails(skerry.Invalid, service(web(), named(id)))
				r.fails(skerry.Invalid, r.RegisterCheck(r.ctx(), named(id)))
				r.fails(skerry.Invalid, r.Configure(r.ctx(), nil, []skerry.CheckDefinition{named(id)}))
			}
			r.fails(skerry.Invalid, r.RegisterCheck(r.ctx(), skerry.CheckDefinition{TTL: time.Minute}))
			onSelf, onNobody := named("x"), named("x")
			onSelf.ServiceID, onNobody.ServiceID = "self", "nobody"
			r.fails(skerry.NotFound, r.RegisterCheck(r.ctx(), onSelf))
			r.fails(skerry.NotFound, r.RegisterCheck(r.ctx(), onNobody))
			r.fails(skerry.NotFound, r.Configure(r.ctx(), nil, []skerry.CheckDefinition{onNobody}))
			for _, id := range []string{"self", "nobody"} {
				r.fails(skerry.NotFound, r.DeregisterService(r.ctx(), id))
				r.fails(skerry.NotFound, r.SetMaintenance(r.ctx(), id, true, ""))
			}
			for _, id := range []string{"alive", "nothing"} {
				r.fails(skerry.NotFound, r.DeregisterCheck(r.ctx(), id))
				r.fails(skerry.NotFound, r.UpdateTTL(r.ctx(), id, skerry.Passing, ""))
			}
			r.fails(skerry.Invalid, r.UpdateTTL(r.ctx(), "mem", "fine", ""))
			i := web()
			_, err := r.ReplaceSet(r.ctx(), []skerry.Registration{{Instance: &i}, {Instance: &i}})
			r.fails(skerry.Invalid, err)
		})
	})
}

func TestReregistrationKeepsStates(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		r.beat("service:web-1", skerry.Passing, "fine")
		tagged := web()
		tagged.Tags = []string{"v2"}
		r.register(tagged, ttlCheck(time.Hour))
		r.is("service:web-1", "passing fine")
		if _, own, _ := r.Instance("web-1"); len(own[0].ServiceTags) != 1 {
			t.Errorf("check %+v does not know the new tags", own[0])
		}
		r.restart(0)
		r.is("service:web-1", "passing fine")
		pass(30 * time.Minute)
		r.is("service:web-1", "passing fine") // by the new TTL
	})
}

func TestRegisteringWhatIsThereChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		full := func() skerry.Instance {
			i := web()
			i.Tags, i.Meta = []string{"a"}, map[string]string{"k": "v"}
			return i
		}
		checks := []skerry.CheckDefinition{ttlCheck(time.Minute), httpCheck("http://a")}
		r.register(full(), checks...)
		r.beat("service:web-1:1", skerry.Passing, "")
		synctest.Wait()
		pass(50 * time.Second)
		runs := r.probes.ran("http://a")
		r.quiet("registering what is there", func() {
			r.register(full(), checks...)
			synctest.Wait()
		})
		if r.probes.ran("http://a") != runs {
			t.Error("the probe began anew")
		}
		pass(50 * time.Second)
		r.is("service:web-1:1", "passing ") // it has a full TTL again
		pass(20 * time.Second)
		r.is("service:web-1:1", "critical TTL expired")
	})
}

func TestReplaceExistingChecks(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		i := web()
		r.register(i, ttlCheck(time.Minute), httpCheck("http://a"))
		r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "extra", ServiceID: "web-1", TTL: time.Minute}))
		r.ok(r.SetMaintenance(r.ctx(), "web-1", true, "work"))
		r.register(i, skerry.CheckDefinition{ID: "new", TTL: time.Minute})
		r.has("web-1 _service_maintenance:web-1 extra new service:web-1:1 service:web-1:2")
		r.ok(r.RegisterService(r.ctx(), skerry.Registration{Instance: &i, Checks: []skerry.CheckDefinition{{ID: "new", TTL: time.Minute}}, ReplaceChecks: true}))
		r.has("web-1 _service_maintenance:web-1 new")
		r.is("service:web-1:2", "none")
		runs := r.probes.ran("http://a")
		pass(time.Minute)
		if r.probes.ran("http://a") != runs {
			t.Error("a check that was replaced runs on")
		}
		r.crash(0)
		r.has("web-1 _service_maintenance:web-1 new")
	})
}

func TestKindsOfOneID(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		named := func(d skerry.CheckDefinition) skerry.CheckDefinition {
			d.ID, d.Name = "c", "c"
			return d
		}
		r.register(web(), named(httpCheck("http://a")))
		synctest.Wait()
		r.is("c", "passing ")
		r.probes.set("db:1", skerry.Passing, "connected")
		r.register(web(), named(skerry.CheckDefinition{TCP: "db:1", Interval: time.Second}))
		synctest.Wait()
		r.is("c", "passing connected") // another probe: no flap
		if !equalStates(r.told.all(), "alive=passing", "c=critical", "c=passing", "c=passing", "c=passing") {
			t.Errorf("the catalog was told %v", r.told.all())
		}
		r.register(web(), named(ttlCheck(time.Minute)))
		r.is("c", "critical ") // nobody has spoken for it
		r.fails(skerry.Invalid, func() error {
			r.ok(r.RegisterCheck(r.ctx(), named(httpCheck("http://a"))))
			return r.UpdateTTL(r.ctx(), "c", skerry.Passing, "")
		}())
	})
}

func equalStates(got []string, want ...string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return false
		}
	}
	return true
}

func TestACheckMovesToAnotherInstance(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web())
		r.register(skerry.Instance{ID: "db", Service: "db"})
		d := skerry.CheckDefinition{ID: "c", Name: "c", ServiceID: "web-1", TTL: time.Minute}
		r.ok(r.RegisterCheck(r.ctx(), d))
		r.beat("c", skerry.Passing, "")
		d.ServiceID = "db"
		r.ok(r.RegisterCheck(r.ctx(), d))
		r.has("db c; web-1")
		r.is("c", "critical ")
		r.register(web(), skerry.CheckDefinition{ID: "c", TTL: time.Minute})
		r.has("db; web-1 c")
		r.crash(0)
		r.has("db; web-1 c")
		r.is("c", "critical ")
		r.ok(r.DeregisterService(r.ctx(), "db"))
		r.is("c", "critical ")
		r.ok(r.DeregisterService(r.ctx(), "web-1"))
		r.is("c", "none")
	})
}

func TestMaintenance(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		r.ok(r.SetMaintenance(r.ctx(), "", true, ""))
		r.ok(r.SetMaintenance(r.ctx(), "web-1", true, "new disk"))
		r.quiet("maintenance that is on", func() { r.ok(r.SetMaintenance(r.ctx(), "web-1", true, "other")) })
		if e := r.table.Service("web").Entries[0]; !e.Maintenance() || e.Health != skerry.Critical {
			t.Errorf("entry %+v", e)
		}
		r.register(skerry.Instance{ID: "web-1", Service: "web2", Tags: []string{"t"}})
		r.crash(0)
		i, own, node := r.Instance("web-1")
		if i.Service != "web2" || len(own) != 2 || own[0].Notes != "new disk" || own[0].ServiceName != "web2" || len(node) != 1 || node[0].Notes != nodeDefaultReason {
			t.Errorf("after a restart: %+v %+v %+v", i, own, node)
		}
		r.ok(r.SetMaintenance(r.ctx(), "web-1", false, ""))
		r.ok(r.SetMaintenance(r.ctx(), "", false, ""))
		r.quiet("maintenance that is off", func() { r.ok(r.SetMaintenance(r.ctx(), "", false, "")) })
		r.crash(0)
		r.has("web-1 service:web-1")
	})
}

// A registration leaves what it was given as it is.
func TestRegistrationIsTheCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		i := &skerry.Instance{Service: "web"}
		checks := []skerry.CheckDefinition{ttlCheck(time.Minute)}
		r.ok(r.RegisterService(r.ctx(), skerry.Registration{Instance: i, Checks: checks}))
		if i.ID != "" || i.TagAddress || i.Weights != (skerry.Weights{}) || checks[0].ID != "" || checks[0].ServiceID != "" {
			t.Errorf("the caller has %+v, %+v", i, checks[0])
		}
		if got, _, _ := r.Instance("web"); got == nil || got == i {
			t.Errorf("the agent has %+v", got)
		}
	})
}

// A caller that has gone does not wait for the disk; its change is there.
func TestRegistrationOfACallerThatHasGone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gone, stop := context.WithCancel(r.ctx())
		stop()
		err := r.RegisterService(gone, skerry.Registration{Instance: &skerry.Instance{Service: "web"}})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("it is told %v", err)
		}
		if len(r.table.Service("web").Entries) != 1 {
			t.Error("the change is not there")
		}
	})
}

// An agent that joins servers takes a bounded number of records. Those that are there may be replaced.
func TestRecordsAreBounded(t *testing.T) {
	r := open(t, "")
	r.cfg.MaxRecords = len(r.services) + len(r.checks) + 2
	put := func(id string, checks int) error {
		reg := skerry.Registration{Instance: &skerry.Instance{ID: id, Service: "web"}}
		for range checks {
			reg.Checks = append(reg.Checks, skerry.CheckDefinition{TTL: time.Minute})
		}
		return r.RegisterService(t.Context(), reg)
	}
	if err := put("a", 2); skerry.KindOf(err) != skerry.Exhausted || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a service with two checks: %v", err)
	}
	if err := put("a", 1); err != nil {
		t.Errorf("a service with a check: %v", err)
	}
	if err := put("b", 0); skerry.KindOf(err) != skerry.Exhausted {
		t.Errorf("one more: %v", err)
	}
	if err := put("a", 1); err != nil {
		t.Errorf("the same again: %v", err)
	}
}
