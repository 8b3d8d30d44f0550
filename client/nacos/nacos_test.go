package nacos

import (
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/nacos/nacostest"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// within is how long a test waits for anything.
const within = 20 * time.Second

func source(t *testing.T, rawURL string) *Source {
	t.Helper()
	s, err := client.OpenSource(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

func list(t *testing.T, tell <-chan sourcetest.Told, want string) sourcetest.Told {
	t.Helper()
	return sourcetest.List(t, tell, within, want)
}

func failure(t *testing.T, tell <-chan sourcetest.Told) sourcetest.Told {
	t.Helper()
	return sourcetest.Until(t, tell, within, "an error", func(u sourcetest.Told) bool { return u.Err != nil })
}

// eventually waits until what is right holds.
func eventually(t *testing.T, what string, right func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !right(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// lasting is an instance as an operator makes one.
func lasting(ip string, weight float64) nacostest.Instance {
	return nacostest.Instance{IP: ip, Port: 80, Weight: weight, Healthy: true, Enabled: true}
}

func TestRegisterAndFind(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	s := source(t, "nacos://"+server.Addr())
	tell := sourcetest.Watch(t, s, "orders")
	list(t, tell, "")
	ours := client.Instance{
		ID: "orders/1", Service: "orders", Address: "10.0.0.1:80", Zone: "east-1", Weight: 3, Tags: []string{"v2", "a,b"},
		Meta: map[string]string{"team": "x"}, Started: time.Unix(1e9, 0).UTC(),
	}
	reports := make(chan error, 1000)
	a := s.Announce(ours, 3*time.Second, func(err error) { reports <- err })
	if u := list(t, tell, "10.0.0.1:80"); !u.Instances[0].Equal(&ours) || u.Unsettled || u.Proven {
		t.Errorf("read back as %+v, want %+v", u.Instances[0], ours)
	}
	if err := <-reports; err != nil {
		t.Errorf("reported %v", err)
	}
	server.Restart(t)
	if u := failure(t, tell); !strings.Contains(u.Err.Error(), "client/nacos: watch orders: the connection is lost") {
		t.Errorf("told %v", u.Err)
	}
	if u := list(t, tell, "10.0.0.1:80"); !u.Unsettled {
		t.Error("a server that was away vouches for its list")
	}
	if _, err := a.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "")
	eventually(t, "all pushes are answered", func() bool { return server.Unanswered() == 0 })
}
