package kubernetes

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

func plain(s *httptest.Server) { s.Start() }

func source(t *testing.T, a *apiServer) *Source {
	t.Helper()
	s, err := client.OpenSource("k8s://prod/?server=" + a.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

func TestConditions(t *testing.T) {
	a := newAPIServer(t, plain)
	a.set("endpointslices/prod/web-1", eps(
		pod("a", "10.0.0.1", ""), // nil is ready
		pod("b", "10.0.0.2", "ready=false,serving=true,terminating=true"),   // draining
		pod("c", "10.0.0.3", "ready=false,serving=false,terminating=true"),  // gone
		pod("d", "10.0.0.4", "ready=false,serving=false,terminating=false"), // not ready
		pod("e", "10.0.0.5", "ready=true,serving=true,terminating=true"),    // publishNotReadyAddresses
		map[string]any{"addresses": []any{"10.0.0.6", "10.0.0.7"}, "conditions": map[string]any{}},
		map[string]any{"addresses": []any{}},
	))
	other := eps(pod("x", "10.9.9.9", ""))
	other["metadata"].(map[string]any)["labels"].(map[string]any)["kubernetes.io/service-name"] = "other"
	a.set("endpointslices/prod/other-1", other)
	a.set("endpointslices/test/web-1", eps(pod("y", "10.9.9.8", "")))
	s := source(t, a)
	u := expect(t, sourcetest.Watch(t, s, "web"), "10.0.0.6:8080=10.0.0.6:8080 a=10.0.0.1:8080 b=10.0.0.2:8080(draining) e=10.0.0.5:8080 left:c")
	i := u.Instances[1]
	if i.Service != "web" || i.Zone != "z1" || i.Meta[MetaNode] != "node-a" || i.Meta[MetaHints] != "z1,z2" || u.Revision != 0 || u.Unsettled || u.Proven {
		t.Errorf("told %+v", u)
	}
	for service, want := range map[string]string{
		"web:admin":             "a=10.0.0.1:9090",
		"web:7":                 "a=10.0.0.1:7",
		"test/web":              "y=10.9.9.8:8080",
		"k8s://test/web:0":      "y=10.9.9.8:8080",
		"kubernetes://test/web": "y=10.9.9.8:8080",
		"k8s:///web":            "",
		"web:nope":              "error client/kubernetes: web:nope: no endpoint has such a port",
		"a/b/c":                 "error client/kubernetes: \"a/b/c\" is no service",
		"":                      "error",
		"web?x=1":               "error",
		"web:99999":             "error client/kubernetes: \"web:99999\" is no service",
	} {
		if u := next(t, sourcetest.Watch(t, s, service)); !strings.Contains(u.String(), want) || want == "" && u.String() != "" {
			t.Errorf("%q: told %q, want %q", service, u, want)
		}
	}
}

// Several slices of one service are one list, of which a pod may be in two.
func TestSlices(t *testing.T) {
	a := newAPIServer(t, plain)
	tell := sourcetest.Watch(t, source(t, a), "web")
	expect(t, tell, "")
	pods := func(from, to int) (out []any) {
		for n := from; n < to; n++ {
			out = append(out, pod(fmt.Sprintf("p%03d", n), fmt.Sprintf("10.0.%d.%d", n/200, n%200+1), "ready=true"))
		}
		return out
	}
	a.set("endpointslices/prod/web-1", eps(pods(0, 100)...))
	a.set("endpointslices/prod/web-2", eps(pods(100, 200)...))
	a.set("endpointslices/prod/web-3", eps(pods(200, 250)...))
	deadline := time.After(within)
	for n := 0; n < 250; {
		select {
		case u := <-tell:
			n = len(u.Instances)
		case <-deadline:
			t.Fatalf("%d of 250 instances", n)
		}
	}
	// One of them changes: the others stay.
	a.set("endpointslices/prod/web-3", eps(pods(210, 250)...))
	if u := next(t, tell); len(u.Instances) != 240 || len(u.Left) != 10 {
		t.Errorf("%d instances, %d left", len(u.Instances), len(u.Left))
	}
	// A pod moves to another slice; for a moment it is in both, and the newer counts.
	moved := pod("p000", "10.0.0.1", "ready=false,serving=true,terminating=true")
	a.set("endpointslices/prod/web-3", eps(append(pods(210, 250), moved)...))
	if u := next(t, tell); len(u.Instances) != 240 || !u.Instances[0].Draining {
		t.Errorf("in two slices: %d instances, %+v", len(u.Instances), u.Instances[0])
	}
	a.set("endpointslices/prod/web-1", nil)
	if u := next(t, tell); len(u.Instances) != 141 || len(u.Left) != 99 || slices.Contains(u.Left, "p000") {
		t.Errorf("one slice deleted: %d instances, %d left", len(u.Instances), len(u.Left))
	}
	a.set("endpointslices/prod/web-2", nil)
	a.set("endpointslices/prod/web-3", nil)
	if u := next(t, tell); len(u.Instances) != 0 || len(u.Left) != 141 {
		t.Errorf("all slices deleted: %d instances, %d left", len(u.Instances), len(u.Left))
	}
}

// What is not ready any more may come back, and is gone when it is removed.
func TestRemoval(t *testing.T) {
	a := newAPIServer(t, plain)
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "ready=true"), pod("b", "10.0.0.2", "ready=true")))
	tell := sourcetest.Watch(t, source(t, a), "web")
	expect(t, tell, "a=10.0.0.1:8080 b=10.0.0.2:8080")
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "ready=true"), pod("b", "10.0.0.2", "ready=false")))
	expect(t, tell, "a=10.0.0.1:8080")
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "ready=true")))
	expect(t, tell, "a=10.0.0.1:8080 left:b")
}

func TestDualStack(t *testing.T) {
	a := newAPIServer(t, plain)
	six := eps(pod("a", "fd00::1", ""), pod("b", "fd00::2", ""))
	six["addressType"] = "IPv6"
	a.set("endpointslices/prod/web-4", eps(pod("a", "10.0.0.1", "")))
	a.set("endpointslices/prod/web-6", six)
	expect(t, sourcetest.Watch(t, source(t, a), "web"), "a=10.0.0.1:8080 b=[fd00::2]:8080")
}

// Nothing that may happen to a watch makes a list empty.
func TestBrokenWatches(t *testing.T) {
	a := newAPIServer(t, plain)
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "")))
	tell := sourcetest.Watch(t, source(t, a), "web")
	expect(t, tell, "a=10.0.0.1:8080")
	eventually(t, "the first watch", func() bool { return len(a.watches()) == 1 })

	// Cut: it goes on from the bookmark's version, without a list and without an error.
	a.bookmark()
	a.set("endpointslices/test/web-1", eps(pod("other", "10.9.9.9", "")))
	a.bookmark()
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", ""), pod("b", "10.0.0.2", "")))
	expect(t, tell, "a=10.0.0.1:8080 b=10.0.0.2:8080")
	a.bookmark()
	time.Sleep(50 * time.Millisecond) // for the bookmark to arrive: it shows nowhere
	a.cutAll()
	eventually(t, "the second watch", func() bool { return len(a.watches()) == 2 })
	if w := a.watches(); w[1] != "106" || a.lists() != 1 {
		t.Errorf("watched from %v after %d lists", w, a.lists())
	}

	// Forgotten: a new list.
	a.mu.Lock()
	a.failing = true
	a.mu.Unlock()
	a.cutAll()
	if u := next(t, tell); u.Err == nil || !strings.Contains(u.Err.Error(), "no leader") {
		t.Errorf("told %v while the server fails", u)
	}
	a.set("endpointslices/prod/web-1", eps(pod("b", "10.0.0.2", ""), pod("c", "10.0.0.3", "")))
	a.forget()
	a.mu.Lock()
	a.failing = false
	a.mu.Unlock()
	for {
		u := next(t, tell)
		if u.Err != nil {
			continue // it failed more than once
		}
		if u.String() != "b=10.0.0.2:8080 c=10.0.0.3:8080" {
			t.Errorf("after the failure %q", u)
		}
		break
	}

	// 410 within a watch, and then a server that was set back.
	eventually(t, "a watch", func() bool { w := a.watches(); return w[len(w)-1] == "108" })
	a.forget()
	lists := a.lists()
	a.cutAll()
	expect(t, tell, "b=10.0.0.2:8080 c=10.0.0.3:8080")
	if a.lists() == lists {
		t.Error("no new list after 410")
	}
	eventually(t, "a watch", func() bool { w := a.watches(); return w[len(w)-1] == "109" })
	a.mu.Lock()
	a.version, a.oldest, a.history = 50, 0, nil
	a.mu.Unlock()
	a.cutAll()
	expect(t, tell, "b=10.0.0.2:8080 c=10.0.0.3:8080")
	a.set("endpointslices/prod/web-1", eps(pod("d", "10.0.0.4", "")))
	expect(t, tell, "d=10.0.0.4:8080 left:b,c")
}

// The server is gone and comes back: its watchers hear of both.
func TestServerDown(t *testing.T) {
	a := newAPIServer(t, plain)
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "")))
	tell := sourcetest.Watch(t, source(t, a), "web")
	expect(t, tell, "a=10.0.0.1:8080")
	eventually(t, "the watch", func() bool { return len(a.watches()) == 1 })
	address := a.server.Listener.Addr().String()
	a.server.Listener.Close()
	a.cutAll()
	if u := next(t, tell); u.Err == nil || !strings.Contains(u.Err.Error(), "connection refused") {
		t.Fatalf("told %v of a server that is gone", u)
	}
	again := httptest.NewUnstartedServer(a)
	again.Listener.Close()
	again.Listener = listen(t, address)
	again.Start()
	t.Cleanup(func() { a.cutAll(); again.CloseClientConnections(); again.Close() })
	for {
		if u := next(t, tell); u.Err == nil {
			if u.String() != "a=10.0.0.1:8080" {
				t.Errorf("then told %q", u)
			}
			break
		}
	}
}

// Where slices are forbidden, Endpoints do.
func TestFallback(t *testing.T) {
	a := newAPIServer(t, plain)
	a.refuse = "endpointslices"
	subset := func(ip ...string) any {
		var ready []any
		for _, ip := range ip {
			ready = append(ready, map[string]any{"ip": ip, "nodeName": "n", "targetRef": map[string]any{"kind": "Pod", "name": "pod-" + ip}})
		}
		return map[string]any{
			"addresses": ready, "notReadyAddresses": []any{map[string]any{"ip": "10.0.0.9"}},
			"ports": []any{map[string]any{"name": "http", "port": 8080, "protocol": "TCP"}},
		}
	}
	endpoints := func(annotations map[string]any, subsets ...any) map[string]any {
		return map[string]any{"metadata": map[string]any{"annotations": annotations}, "subsets": subsets}
	}
	a.set("endpoints/prod/web", endpoints(nil, subset("10.0.0.1", "10.0.0.2"), subset("fd00::3")))
	a.set("endpoints/prod/other", endpoints(nil, subset("10.9.9.9")))
	tell := sourcetest.Watch(t, source(t, a), "web:http")
	expect(t, tell, "pod-10.0.0.1=10.0.0.1:8080 pod-10.0.0.2=10.0.0.2:8080 pod-fd00::3=[fd00::3]:8080")
	a.set("endpoints/prod/web", endpoints(map[string]any{"endpoints.kubernetes.io/over-capacity": "truncated"}, subset("10.0.0.2")))
	if u := expect(t, tell, "pod-10.0.0.2=10.0.0.2:8080 left:pod-10.0.0.1,pod-fd00::3"); !u.Unsettled {
		t.Error("a list that is cut counts as whole")
	}
	a.mu.Lock()
	a.refuse = "*"
	a.mu.Unlock()
	a.cutAll()
	if u := next(t, tell); u.Err == nil || !strings.Contains(u.Err.Error(), "endpointslices is forbidden") && !strings.Contains(u.Err.Error(), "endpoints is forbidden") {
		t.Errorf("told %v of what is forbidden", u)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Through a client: pods that all fail their probes at once are held, since it may be
// the prober that is ill; those that are removed are gone at once, even the last.
func TestThroughAClient(t *testing.T) {
	a := newAPIServer(t, plain)
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", ""), pod("b", "10.0.0.2", "")))
	c := client.New(source(t, a), client.WithCacheDir(""))
	defer c.Close()
	lists := make(chan client.Snapshot, 100)
	go func() {
		for s := range c.Watch(t.Context(), "web") {
			lists <- s
		}
	}()
	for _, step := range []struct {
		endpoints       []any
		instances, held int
	}{
		{[]any{pod("a", "10.0.0.1", "ready=true"), pod("b", "10.0.0.2", "ready=true")}, 2, 0}, // told at the start
		{[]any{pod("a", "10.0.0.1", "ready=false"), pod("b", "10.0.0.2", "ready=false")}, 2, 2},
		{[]any{pod("a", "10.0.0.1", "ready=false")}, 1, 1},
		{nil, 0, 0},
	} {
		a.set("endpointslices/prod/web-1", eps(step.endpoints...))
		select {
		case s := <-lists:
			if len(s.Instances) != step.instances || s.Held != step.held || s.Freshness != client.Live {
				t.Errorf("after %v: %+v", step.endpoints, s)
			}
		case <-time.After(within):
			t.Fatalf("nothing is told after %v", step.endpoints)
		}
	}
}
