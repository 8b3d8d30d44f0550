package skerrygrpc

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/skerryhq/skerry/client"
)

// told keeps what a resolver tells gRPC.
type told struct {
	mu     sync.Mutex
	states []resolver.State
	errs   []error
}

func (c *told) UpdateState(s resolver.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, s)
	return nil
}

func (c *told) ReportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

func (c *told) NewAddress([]resolver.Address) { panic("deprecated") }

func (c *told) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

// last returns the last list, and how many there were, and errors.
func (c *told) last() (addresses []string, f client.Freshness, lists, errs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lists = len(c.states); lists > 0 {
		s := c.states[lists-1]
		f, _ = FreshnessOf(s)
		for _, e := range s.Endpoints {
			addresses = append(addresses, e.Addresses[0].Addr)
		}
	}
	return addresses, f, lists, len(c.errs)
}

func target(t *testing.T, text string) resolver.Target {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return resolver.Target{URL: *u}
}

func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newClient(t)
		cc := &told{}
		r, err := NewBuilder(c, "Consul").Build(target(t, "consul:///orders"), cc, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m.Fail(service, errDown)
		time.Sleep(nothingWithin - time.Second)
		synctest.Wait()
		if _, _, lists, errs := cc.last(); lists+errs != 0 {
			t.Fatalf("%d lists and %d errors before anything is known", lists, errs)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, _, lists, errs := cc.last(); lists != 0 || errs != 1 || !strings.Contains(cc.errs[0].Error(), `"orders"`) {
			t.Fatalf("later there are %d lists, errors %v", lists, cc.errs)
		}
		step := func(what string, want []string, fresh client.Freshness) {
			t.Helper()
			synctest.Wait()
			if got, f, _, errs := cc.last(); !slices.Equal(got, want) || f != fresh || errs != 1 {
				t.Errorf("%s: %v, %v, %d errors, want %v, %v", what, got, f, errs, want, fresh)
			}
		}
		m.Set(service, "a:1", "b:1")
		step("a list", []string{"a:1", "b:1"}, client.Live)
		m.Fail(service, errDown)
		step("the registry is down", []string{"a:1", "b:1"}, client.Frozen)
		m.Set(service)
		step("it is empty, without proof", []string{"a:1", "b:1"}, client.Live)
		m.Update(service, client.Update{Revision: 9, Left: []string{"a:1", "b:1"}})
		step("all have left", nil, client.Live)
		m.Fail(service, errDown)
		step("the registry is down, with none", nil, client.Frozen)
		r.Close()
		m.Set(service, "c:1")
		step("after Close", nil, client.Frozen)
	})
}

// A list on disk that is empty is no reason to fail calls before the registry answers.
func TestResolverOfAnEmptyColdList(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, m := newClient(t, client.WithCacheDir(dir))
		m.Update(service, client.Update{Revision: 1, Proven: true})
		for range c.Watch(t.Context(), service) {
			break
		}
		c.Close()
		c, m = newClient(t, client.WithCacheDir(dir))
		m.Fail(service, errDown)
		cc := &told{}
		r, err := NewBuilder(c, Scheme).Build(target(t, "skerry:///orders"), cc, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		time.Sleep(nothingWithin - time.Second)
		synctest.Wait()
		if s, ok := c.Snapshot(service); !ok || s.Freshness != client.Cold {
			t.Fatalf("the list is not from the disk: %+v", s)
		}
		if _, _, lists, errs := cc.last(); lists+errs != 0 {
			t.Errorf("%d lists and %d errors before the registry has answered", lists, errs)
		}
		m.Set(service, "a:1")
		synctest.Wait()
		if got, _, _, errs := cc.last(); len(got) != 1 || errs != 0 {
			t.Errorf("then: %v, %d errors", got, errs)
		}
	})
}

// A program that is started while nothing is known hears of it when the client closes.
func TestResolverOfAClosedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t)
		c.Close()
		cc := &told{}
		r, err := NewBuilder(c, Scheme).Build(target(t, "skerry:///orders"), cc, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(cc.errs) != 1 || !errors.Is(cc.errs[0], client.ErrClosed) {
			t.Errorf("errors %v", cc.errs)
		}
		r.Close()
	})
}

func TestTargets(t *testing.T) {
	c, _ := newClient(t)
	for _, text := range []string{"skerry://orders", "skerry:///", "skerry://authority/orders"} {
		if _, err := NewBuilder(c, Scheme).Build(target(t, text), &told{}, resolver.BuildOptions{}); err == nil || !strings.Contains(err.Error(), "skerry:///SERVICE") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestStateOf(t *testing.T) {
	old := client.Instance{ID: "a1", Service: service, Address: "a:1", Draining: true}
	now := client.Instance{ID: "a2", Service: service, Address: "a:1", Zone: "z", Weight: 3, Started: time.Unix(1e9, 0)}
	for _, order := range [][]client.Instance{{old, now}, {now, old}} {
		s := stateOf(&client.Snapshot{Instances: order})
		if len(s.Endpoints) != 1 {
			t.Fatalf("%d endpoints of one address", len(s.Endpoints))
		}
		if i, ok := InstanceOf(s.Endpoints[0]); !ok || !i.Equal(&now) {
			t.Errorf("it stands for %+v", i)
		}
	}
	a, b := endpoints(now)[0], endpoints(now)[0]
	if !a.Attributes.Equal(b.Attributes) {
		t.Error("the same instance twice is a change")
	}
	now.Draining = true
	if a.Attributes.Equal(endpoints(now)[0].Attributes) {
		t.Error("that it drains is no change")
	}
	if _, ok := InstanceOf(resolver.Endpoint{}); ok {
		t.Error("another resolver's endpoint has an instance")
	}
}
