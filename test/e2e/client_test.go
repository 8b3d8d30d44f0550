package e2e

import (
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

// The official Go client: register with a TTL, pass, be woken by a change.
func TestOfficialClient(t *testing.T) {
	a := start(t, nil)
	c := a.client()
	if err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "web-1", Name: "web", Port: 80, Tags: []string{"release"}, Check: &api.AgentServiceCheck{TTL: "1h", CheckID: "beat"},
	}); err != nil {
		t.Fatal(err)
	}
	found, meta, err := c.Health().Service("web", "release", true, nil)
	if err != nil || len(found) != 0 {
		t.Fatalf("before the first beat: %v, %v; want none", found, err)
	}

	type answer struct {
		found []*api.ServiceEntry
		meta  *api.QueryMeta
		err   error
	}
	woken := make(chan answer, 1)
	go func() {
		f, m, err := c.Health().Service("web", "release", true, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: patience})
		woken <- answer{f, m, err}
	}()
	if err := c.Agent().UpdateTTL("beat", "fine", api.HealthPassing); err != nil {
		t.Fatal(err)
	}
	w := <-woken
	if w.err != nil || len(w.found) != 1 || w.found[0].Service.ID != "web-1" || w.found[0].Checks.AggregatedStatus() != api.HealthPassing {
		t.Fatalf("after the beat: %v, %v; want web-1, passing", w.found, w.err)
	}
	if w.meta.LastIndex <= meta.LastIndex {
		t.Errorf("index %d after a change, %d before it", w.meta.LastIndex, meta.LastIndex)
	}
}

func TestOfficialClientMaintenance(t *testing.T) {
	a := start(t, nil)
	c := a.client()
	a.register(`{"ID": "web-1", "Name": "web", "Port": 80}`)
	for _, mode := range []struct {
		name    string
		on, off func() error
	}{
		{"service", func() error { return c.Agent().EnableServiceMaintenance("web-1", "rebuild") }, func() error { return c.Agent().DisableServiceMaintenance("web-1") }},
		{"node", func() error { return c.Agent().EnableNodeMaintenance("rebuild") }, func() error { return c.Agent().DisableNodeMaintenance() }},
	} {
		if err := mode.on(); err != nil {
			t.Fatal(err)
		}
		if found, _, err := c.Health().Service("web", "", true, nil); err != nil || len(found) != 0 {
			t.Errorf("%s in maintenance: %d instances, %v; want none", mode.name, len(found), err)
		}
		if err := mode.off(); err != nil {
			t.Fatal(err)
		}
		if found, _, err := c.Health().Service("web", "", true, nil); err != nil || len(found) != 1 {
			t.Errorf("%s after maintenance: %d instances, %v; want one", mode.name, len(found), err)
		}
	}
}

// The watch plans of the official client see each state in turn.
func TestOfficialClientWatchPlan(t *testing.T) {
	a := start(t, nil)
	plan, err := watch.Parse(map[string]any{"type": "service", "service": "web"})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan int, 16)
	plan.Handler = func(_ uint64, data any) { seen <- len(data.([]*api.ServiceEntry)) }
	ended := make(chan error, 1)
	go func() { ended <- plan.Run(a.http) }()
	expect := func(want int) {
		t.Helper()
		if got := <-seen; got != want {
			t.Errorf("the plan saw %d instances, want %d", got, want)
		}
	}
	expect(0)
	a.register(`{"ID": "web-1", "Name": "web"}`)
	expect(1)
	a.register(`{"ID": "web-2", "Name": "web"}`)
	expect(2)
	a.ok("PUT", "/v1/agent/service/deregister/web-1", "")
	expect(1)
	plan.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
