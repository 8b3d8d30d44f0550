package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"
)

// An agent goes on answering for services that it follows while all servers are dead, also after it started again,
// and says how old its answers are. Its own registrations are right meanwhile, and arrive when servers come back.
func TestAgentsAnswerWithoutServers(t *testing.T) {
	t.Parallel()
	servers, at := servers(t, 3)
	web, caller := joined(t, "web1", at), joined(t, "app1", at)
	if err := web.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80, Tags: []string{"v1"}}); err != nil {
		t.Fatal(err)
	}
	if err := caller.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-2", Name: "web", Port: 81}); err != nil {
		t.Fatal(err)
	}
	caller.follows("web", 1)
	caller.finds("web", "web-1", "web-2")
	// A waiting query is answered from the followed view too.
	_, meta, err := caller.client().Health().Service("web", "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	woken := make(chan []string, 1)
	go func() {
		var ids []string
		entries, _, err := caller.asker().Health().Service("web", "", false, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 10 * time.Second})
		for _, e := range entries {
			ids = append(ids, e.Service.ID)
		}
		if err != nil {
			ids = []string{err.Error()}
		}
		woken <- ids
	}()
	if err := web.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-3", Name: "web", Port: 82}); err != nil {
		t.Fatal(err)
	}
	if ids := <-woken; !slices.Equal(ids, []string{"web-2", "web-1", "web-3"}) {
		t.Fatalf("the waiting query: %v", ids)
	}

	for _, s := range servers {
		s.kill()
	}
	await(t, "stale answers", func() error { return caller.stale(1) })
	for range 3 {
		caller.finds("web", "web-1", "web-2", "web-3")
		if r, err := caller.resolve("v1.web.service.consul.", dns.TypeSRV); err != nil || len(r.Answer) != 1 {
			t.Fatalf("DNS without servers: %v, %v", r, err)
		}
		if r, err := caller.resolve("web.service.consul.", dns.TypeSRV); err != nil || len(r.Answer) != 3 {
			t.Fatalf("DNS without servers: %v, %v", r, err)
		}
		if r := caller.request("GET", "/v1/health/service/other", ""); r.status != http.StatusInternalServerError {
			t.Fatalf("a service that is not followed: %d %s", r.status, r.body)
		}
		caller.kill()
		caller.run()
	}
	if r := caller.request("GET", "/v1/status/ready", ""); r.status != http.StatusServiceUnavailable {
		t.Errorf("an agent without a server is ready: %d %s", r.status, r.body)
	}
	// What the agent itself has is right, whatever the servers said last.
	if err := caller.client().Agent().ServiceDeregister("web-2"); err != nil {
		t.Fatal(err)
	}
	if err := caller.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-4", Name: "web", Port: 84}); err != nil {
		t.Fatal(err)
	}
	caller.finds("web", "web-1", "web-3", "web-4")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lost := make(chan string, 16)
	go caller.gone(ctx, "web", func(id string) { lost <- id })
	for _, s := range servers {
		s.run()
	}
	for _, a := range append(servers, web, caller) {
		a.attached()
		a.finds("web", "web-1", "web-3", "web-4")
	}
	await(t, "current answers", func() error { return caller.stale(0) })
	select {
	case id := <-lost:
		t.Errorf("%s vanished for a moment when the servers came back", id)
	default:
	}
}

// follows asks for a service until the agent follows so many services.
func (a *agent) follows(service string, n int) {
	a.t.Helper()
	await(a.t, "the services that the agent follows", func() error {
		a.ok("GET", "/v1/health/service/"+service, "")
		if m := a.ok("GET", "/metrics", "").body; !strings.Contains(m, fmt.Sprintf("\nskerry_follow_services %d\n", n)) {
			return fmt.Errorf("not %d", n)
		}
		return nil
	})
}

// stale returns an error unless answers about web are at least so many seconds old; 0: they must be current.
func (a *agent) stale(seconds int) error {
	r := a.request("GET", "/v1/health/service/web", "")
	age := 0
	fmt.Sscan(r.header.Get("X-Skerry-Stale"), &age)
	if r.status != http.StatusOK || age < seconds || seconds == 0 && age > 0 {
		return fmt.Errorf("%d, %d s old: %s", r.status, age, r.body)
	}
	return nil
}
