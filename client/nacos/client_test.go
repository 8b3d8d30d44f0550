package nacos

import (
	"net"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/nacos/nacostest"
)

// program is one that uses the client, with what it is told of a service.
func program(t *testing.T, server *nacostest.Server, service string) (*client.Client, func(what string, right func(client.Snapshot) bool) client.Snapshot) {
	t.Helper()
	c, err := client.Open("nacos://"+server.Addr(), client.WithCacheDir(""), client.WithHold(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	snapshots := make(chan client.Snapshot, 1000)
	go func() {
		for s := range c.Watch(t.Context(), service) {
			snapshots <- s
		}
	}()
	return c, func(what string, right func(client.Snapshot) bool) client.Snapshot {
		t.Helper()
		deadline := time.After(within)
		for {
			select {
			case s := <-snapshots:
				if right(s) {
					return s
				}
			case <-deadline:
				now, _ := c.Snapshot(service)
				t.Fatalf("no %s; now %+v", what, now)
			}
		}
	}
}

// serving registers an instance with an address that takes connections.
func serving(t *testing.T, c *client.Client, id string) *client.Registration {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r, err := c.Register(client.Instance{ID: id, Service: "orders", Address: l.Addr().String()}, client.WithPropagation(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// A server that dies freezes the list. When it is back with nothing, the list is kept,
// and those who live register again.
func TestServerLosesAll(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	server.Put("", "", "lasting", lasting("10.0.0.1"))
	_, lost := program(t, server, "lasting")
	c, wait := program(t, server, "orders")
	lost("list", func(s client.Snapshot) bool { return len(s.Instances) == 1 && s.Freshness == client.Live })
	one, two := serving(t, c, "1"), serving(t, c, "2")
	wait("list", func(s client.Snapshot) bool { return len(s.Instances) == 2 && s.Freshness == client.Live })
	server.Stop()
	s := wait("freeze", func(s client.Snapshot) bool { return s.Freshness == client.Frozen })
	if len(s.Instances) != 2 || s.Err == nil {
		t.Errorf("while Nacos is down: %+v", s)
	}
	if s := lost("freeze", func(s client.Snapshot) bool { return s.Freshness == client.Frozen }); len(s.Instances) != 1 || s.Err == nil {
		t.Errorf("while Nacos is down: %+v", s)
	}
	eventually(t, "the registrations know", func() bool { return one.Err() != nil && two.Err() != nil })
	server.Restart(t)
	// Its owner is gone with its data: nobody registers it again.
	if s := lost("answer of the empty server", func(s client.Snapshot) bool { return s.Freshness == client.Live }); len(s.Instances) != 1 || s.Held != 1 {
		t.Errorf("from a server that has lost all: %+v", s)
	}
	s = wait("return of both", func(s client.Snapshot) bool {
		if len(s.Instances) != 2 {
			t.Errorf("while they come back: %+v", s)
		}
		return s.Freshness == client.Live && s.Held == 0
	})
	eventually(t, "the registrations know", func() bool { return one.Err() == nil && two.Err() == nil })
	if registered := server.Instances("", "", "orders"); len(registered) != 2 {
		t.Errorf("registered are %v", registered)
	}
	time.Sleep(300 * time.Millisecond) // three holds
	if now, _ := c.Snapshot("orders"); len(now.Instances) != 2 {
		t.Errorf("then %+v", now)
	}
}

// Drain takes an instance out, and what dies goes too.
func TestDrain(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	c, _ := program(t, server, "orders")
	_, wait := program(t, server, "orders")
	one, two, three := serving(t, c, "1"), serving(t, c, "2"), serving(t, c, "3")
	wait("list", func(s client.Snapshot) bool { return len(s.Instances) == 3 })
	if err := one.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(server.Instances("", "", "orders")); n != 2 {
		t.Errorf("Drain leaves %d", n)
	}
	wait("withdrawal", func(s client.Snapshot) bool { return len(s.Instances) == 2 && s.Held == 0 })
	if err := two.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := three.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The last ones go when they have been held.
	wait("end of the hold", func(s client.Snapshot) bool { return len(s.Instances) == 0 })
}
