package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// drained drains an instance of an agent and returns the count.
func (a *agent) drained(id, within string) (d skerry.Drained) {
	a.t.Helper()
	r := a.ok("PUT", "/v1/agent/service/deregister/"+id+"?drain="+within, "")
	if err := json.Unmarshal([]byte(r.body), &d); err != nil {
		a.t.Fatalf("%s: %v", r.body, err)
	}
	return d
}

// watches reads a service by blocking queries until ctx ends, and notes the ids that it has.
func (a *agent) watches(ctx context.Context, service string, has func(ids []string)) {
	index := uint64(0)
	for ctx.Err() == nil {
		found, meta, err := a.asker().Health().Service(service, "", false, (&api.QueryOptions{WaitIndex: index, WaitTime: 30 * time.Second}).WithContext(ctx))
		if err != nil {
			continue
		}
		index = meta.LastIndex
		var ids []string
		for _, f := range found {
			ids = append(ids, f.Service.ID)
		}
		has(ids)
	}
}

// An instance that drains is in no answer, and its drain ends when all readers that could know it know that it goes.
func TestADrainWaitsForEveryReader(t *testing.T) {
	t.Parallel()
	servers, at := serversWith(t, 3, map[string]any{"dns_config": map[string]any{"service_ttl": map[string]string{"slow": "3s"}}})
	web, caller := joined(t, "web1", at), joined(t, "app1", at)
	web.register(`{"ID": "web-1", "Name": "web", "Port": 80}`, `{"ID": "web-2", "Name": "web", "Port": 81}`, `{"ID": "slow-1", "Name": "slow", "Port": 82}`)
	for _, a := range append([]*agent{caller}, servers...) {
		a.finds("web", "web-1", "web-2")
	}
	caller.follows("web", 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	has := map[string][]string{}
	for _, a := range []*agent{caller, servers[0], servers[2]} {
		go a.watches(ctx, "web", func(ids []string) {
			mu.Lock()
			defer mu.Unlock()
			has[a.http] = ids
		})
	}
	await(t, "the watchers", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(has) != 3 {
			return fmt.Errorf("%v", has)
		}
		return nil
	})
	began := time.Now()
	d := web.drained("web-1", "30s")
	if took := time.Since(began); !d.Safe || d.Pending != 0 || d.Acked < 4 || took > 25*time.Second {
		t.Errorf("the drain of web-1: %+v after %v", d, took)
	}
	mu.Lock()
	for where, ids := range has {
		if slices.Contains(ids, "web-1") {
			t.Errorf("the drain is over, and a watcher at %s has %v", where, ids)
		}
	}
	mu.Unlock()
	if r := web.request("GET", "/v1/agent/services", ""); strings.Contains(r.body, "web-1") {
		t.Errorf("the instance is registered still: %s", r.body)
	}

	// A reader that does not ask again is pending, and so the drain is not safe.
	conn, err := net.Dial("tcp", servers[1].http)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	index := servers[1].ok("GET", "/v1/health/service/web", "").header.Get("X-Consul-Index")
	before := servers[1].blocking() // an agent may have passed one on
	fmt.Fprintf(conn, "GET /v1/health/service/web?index=%s&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n", index)
	await(t, "the blocking query", func() error {
		if servers[1].blocking() <= before {
			return fmt.Errorf("it does not wait yet")
		}
		return nil
	})
	if d := web.drained("web-2", "2s"); d.Safe || d.Pending == 0 || !strings.Contains(fmt.Sprint(d.Waiting), "at s2") {
		t.Errorf("the drain of web-2 with a reader that stands still: %+v", d)
	}

	// While it drains the instance is in no answer, but a stream says its state.
	if r, err := servers[0].resolve("slow.service.consul.", dns.TypeSRV); err != nil || len(r.Answer) != 1 || r.Answer[0].Header().Ttl != 3 {
		t.Fatalf("DNS: %v, %v", r, err)
	}
	done := make(chan skerry.Drained, 1)
	began = time.Now()
	go func() { done <- web.drained("slow-1", "30s") }()
	for _, a := range append([]*agent{web, caller}, servers...) {
		a.finds("slow")
	}
	if r, err := servers[1].resolve("slow.service.consul.", dns.TypeSRV); err != nil || len(r.Answer) != 0 {
		t.Errorf("DNS while it drains: %v, %v", r, err)
	}
	lines := output(t, []string{"curl", "-sN", "http://" + servers[2].http + "/v1/skerry/follow?service=slow"})
	lines.expect("data:", `"Draining":[{`, "slow-1")
	if r := web.request("GET", "/v1/agent/services", ""); !strings.Contains(r.body, "slow-1") {
		t.Errorf("the agent has not the instance: %s", r.body)
	}
	if d, took := <-done, time.Since(began); !d.Safe || took < 2*time.Second {
		t.Errorf("the drain of an instance that resolvers know: %+v after %v", d, took)
	}

	// A server that is down makes a drain unsafe.
	servers[2].kill()
	web.register(`{"ID": "web-3", "Name": "web", "Port": 83}`)
	if d := web.drained("web-3", "3s"); d.Safe || !strings.Contains(fmt.Sprint(d.Waiting), "s3") {
		t.Errorf("the drain while a server is down: %+v", d)
	}
	if r := web.request("PUT", "/v1/agent/service/deregister/web-3?drain=x", ""); r.status != http.StatusBadRequest || !strings.Contains(r.body, "drain=30s") {
		t.Errorf("a bad drain: %d %s", r.status, r.body)
	}
}

// The instances of a lease drain, wherever it was put and is deleted.
func TestALeaseDrains(t *testing.T) {
	t.Parallel()
	servers, _ := servers(t, 3)
	servers[0].putOwner("batch-1", "batch", "1m")
	for _, s := range servers {
		s.finds("batch", "batch-1")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan []string, 100)
	go servers[2].watches(ctx, "batch", func(ids []string) { seen <- ids })
	if ids := <-seen; len(ids) != 1 {
		t.Fatalf("%v", ids)
	}
	r := servers[1].ok("DELETE", "/v1/skerry/owner/batch-1?drain=30s", "")
	var d skerry.Drained
	if err := json.Unmarshal([]byte(r.body), &d); err != nil || !d.Safe || d.Acked < 1 {
		t.Errorf("%s, %v", r.body, err)
	}
	for _, s := range servers {
		s.finds("batch")
	}
}

// blocking returns how many blocking queries wait at an agent.
func (a *agent) blocking() (n int) {
	a.t.Helper()
	_, rest, _ := strings.Cut(a.ok("GET", "/metrics", "").body, "\nskerry_http_blocking_queries ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		a.t.Fatal(err)
	}
	return n
}
