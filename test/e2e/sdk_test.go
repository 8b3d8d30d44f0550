package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/consul"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// sdk opens a client of the agent.
func (a *agent) sdk(scheme string) *client.Client {
	a.t.Helper()
	c, err := client.Open(scheme+"://"+a.http, client.WithCacheDir(a.t.TempDir()), client.WithHold(2*time.Second))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return c
}

// awaitList waits until a watched service's list is as wanted.
func awaitList(t testing.TB, c *client.Client, service, what string, want func(client.Snapshot) bool) client.Snapshot {
	t.Helper()
	return sourcetest.Await(t, c, service, patience, what, want)
}

func listener(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func lives(n int) func(client.Snapshot) bool {
	return func(s client.Snapshot) bool {
		return len(s.Instances) == n && s.Freshness == client.Live && s.Held == 0
	}
}

// What registers is found, stays found over kills of the registry, and is gone when
// it drains, by lease and with an agent.
func TestSDK(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"skerry", "consul"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			a := start(t, map[string]any{"log_level": "warn"})
			c := a.sdk(scheme)
			var rs []*client.Registration
			for n := range 3 {
				r, err := c.Register(client.Instance{Service: "orders", Address: listener(t), Zone: fmt.Sprint("z", n), Weight: n + 1, Meta: map[string]string{"v": "1"}}, client.WithTTL(3*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				rs = append(rs, r)
			}
			s := awaitList(t, c, "orders", "registered", lives(3))
			for _, i := range s.Instances {
				if i.Zone == "" || i.Weight == 0 || i.Started.IsZero() || i.Meta["v"] != "1" {
					t.Errorf("%+v", i)
				}
			}
			if r := a.request("GET", "/v1/catalog/service/orders", ""); strings.Count(r.body, `"ServiceID"`) != 3 {
				t.Errorf("the Consul API finds %s", r.body)
			}
			a.kill()
			awaitList(t, c, "orders", "killed", func(s client.Snapshot) bool { return s.Freshness == client.Frozen && len(s.Instances) == 3 })
			a.run()
			awaitList(t, c, "orders", "restarted", lives(3))
			for end := time.Now().Add(patience); rs[0].Err() != nil || rs[1].Err() != nil || rs[2].Err() != nil; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("not registered again: %v %v %v", rs[0].Err(), rs[1].Err(), rs[2].Err())
				}
			}
			if err := rs[0].Drain(t.Context()); err != nil {
				t.Error(err)
			}
			awaitList(t, c, "orders", "one drained", lives(2))
			for _, r := range rs[1:] {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			awaitList(t, c, "orders", "all drained", lives(0))
		})
	}
}

// A registry that comes back without its data empties nobody, and has everything
// again within a lease.
func TestSDKRegistryLosesItsData(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	c := a.sdk("skerry")
	for range 2 {
		if _, err := c.Register(client.Instance{Service: "orders", Address: listener(t)}, client.WithTTL(3*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	a.ok("PUT", "/v1/skerry/owner/gone", `{"Address":"10.9.9.9","TTL":"1h","Services":[{"Name":"orders","Port":1}]}`)
	awaitList(t, c, "orders", "registered", lives(3))
	fewest := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		n := 3
		for s := range c.Watch(ctx, "orders") {
			n = min(n, len(s.Instances))
		}
		fewest <- n
	}()
	a.kill()
	other := start(t, map[string]any{"log_level": "warn", "ports": map[string]any{"http": portOf(t, a.http)}})
	other.catalogGoesOn("unrelated")
	awaitList(t, c, "orders", "empty registry", func(s client.Snapshot) bool { return s.Freshness == client.Live })
	for end := time.Now().Add(patience); strings.Count(other.request("GET", "/v1/catalog/service/orders", "").body, `"ServiceID"`) != 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the programs have not registered again")
		}
	}
	cancel()
	if n := <-fewest; n < 2 {
		t.Errorf("the list had %d instances in between", n)
	}
}

func portOf(t testing.TB, address string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// A service is found, and followed, however its name is spelled.
func TestSDKFindsAnySpelling(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	a.register(`{"ID": "o1", "Name": "Orders", "Address": "10.0.0.1", "Port": 1}`, `{"ID": "o2", "Name": "ORDERS", "Address": "10.0.0.2", "Port": 1}`)
	for _, scheme := range []string{"skerry", "consul"} {
		c := a.sdk(scheme)
		awaitList(t, c, "orders", "registered in two spellings", lives(2))
		a.register(`{"ID": "o3", "Name": "orders", "Address": "10.0.0.3", "Port": 1}`)
		awaitList(t, c, "orders", "a third came", lives(3))
		a.ok("PUT", "/v1/agent/service/deregister/o3", "")
		awaitList(t, c, "orders", "and went", lives(2))
	}
}

// A client that starts while the registry is dead has its list from the disk at once.
func TestSDKStartsWithoutItsRegistry(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	dir := t.TempDir()
	open := func() *client.Client {
		c, err := client.Open("skerry://127.0.0.1:1,"+a.http, client.WithCacheDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if r := a.request("PUT", "/v1/agent/service/register", `{"Name":"orders","Port":80,"Address":"10.0.0.1"}`); r.status != http.StatusOK {
		t.Fatal(r)
	}
	c := open()
	awaitList(t, c, "orders", "one of two addresses is dead", lives(1))
	c.Close()
	a.kill()
	c = open()
	defer c.Close()
	for s := range c.Watch(t.Context(), "orders") {
		if s.Freshness != client.Cold || len(s.Instances) != 1 || s.Instances[0].Address != "10.0.0.1:80" {
			t.Errorf("from the disk: %+v", s)
		}
		break
	}
}
