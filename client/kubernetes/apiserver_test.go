package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client/sourcetest"
)

// apiServer speaks as much of Kubernetes' API as lists and watches need: versions, label
// and field selectors, bookmarks, 410 Gone, "Too large resource version", 401 and 403.
type apiServer struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	version  int
	oldest   int // history before it is compacted
	objects  map[string]map[string]any
	history  []change
	changed  chan struct{}
	cut      chan struct{} // closed to cut all watches
	token    string        // "" asks for none
	refuse   string        // a resource that may not be read
	failing  bool          // 500 to everything
	requests []*url.URL
}

type change struct {
	version int
	kind    string
	key     string // resource/namespace/name
	object  map[string]any
}

func newAPIServer(t *testing.T, start func(*httptest.Server)) *apiServer {
	t.Helper()
	a := &apiServer{t: t, version: 100, oldest: 100, objects: map[string]map[string]any{}, changed: make(chan struct{}), cut: make(chan struct{})}
	a.server = httptest.NewUnstartedServer(a)
	start(a.server)
	t.Cleanup(func() { a.cutAll(); a.server.CloseClientConnections(); a.server.Close() })
	return a
}

func (a *apiServer) lock() func() { a.mu.Lock(); return a.mu.Unlock }

// set writes an object; nil deletes it.
func (a *apiServer) set(key string, object map[string]any) {
	defer a.lock()()
	a.version++
	kind := "MODIFIED"
	switch old := a.objects[key]; {
	case object == nil:
		kind, object = "DELETED", clone(old)
		delete(a.objects, key)
	case old == nil:
		kind = "ADDED"
	}
	object = clone(object)
	meta := object["metadata"].(map[string]any)
	parts := strings.Split(key, "/")
	meta["namespace"], meta["name"], meta["resourceVersion"] = parts[1], parts[2], strconv.Itoa(a.version)
	if kind != "DELETED" {
		a.objects[key] = object
	}
	a.history = append(a.history, change{a.version, kind, key, object})
	a.wake()
}

func (a *apiServer) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// bookmark tells all watches the version.
func (a *apiServer) bookmark() {
	defer a.lock()()
	a.version++
	a.history = append(a.history, change{version: a.version, kind: "BOOKMARK"})
	a.wake()
}

// forget compacts the history.
func (a *apiServer) forget() {
	defer a.lock()()
	a.version++
	a.oldest = a.version
	a.history = nil
}

func (a *apiServer) cutAll() {
	defer a.lock()()
	close(a.cut)
	a.cut = make(chan struct{})
}

// watches returns the versions from which watches were asked for.
func (a *apiServer) watches() (out []string) {
	defer a.lock()()
	for _, u := range a.requests {
		if u.Query().Get("watch") != "" {
			out = append(out, u.Query().Get("resourceVersion"))
		}
	}
	return out
}

func (a *apiServer) lists() (n int) {
	defer a.lock()()
	for _, u := range a.requests {
		if u.Query().Get("watch") == "" {
			n++
		}
	}
	return n
}

func clone(o map[string]any) map[string]any {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

func status(code int, reason, message string, causes ...any) map[string]any {
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
		"details": map[string]any{"causes": causes},
	}
}

func (a *apiServer) refusal(r *http.Request, resource string) map[string]any {
	switch {
	case a.failing:
		return status(500, "InternalError", "etcdserver: no leader")
	case a.token != "" && r.Header.Get("Authorization") != "Bearer "+a.token:
		return status(401, "Unauthorized", "Unauthorized")
	case a.refuse == resource || a.refuse == "*":
		return status(403, "Forbidden", resource+" is forbidden")
	}
	return nil
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// …/namespaces/NAMESPACE/RESOURCE
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	namespace, resource, ok := strings.Cut(rest, "/")
	group := map[string]string{"endpointslices": "/apis/discovery.k8s.io/v1", "endpoints": "/api/v1"}[resource]
	if !ok || group == "" || !strings.HasPrefix(r.URL.Path, group+"/") {
		answer(w, 404, status(404, "NotFound", "the server could not find the requested resource"))
		return
	}
	unlock := a.lock()
	a.requests = append(a.requests, r.URL)
	no := a.refusal(r, resource)
	unlock()
	if no != nil {
		answer(w, no["code"].(int), no)
		return
	}
	selected := func(key string, o map[string]any) bool {
		query := r.URL.Query()
		labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any)
		label, value, _ := strings.Cut(query.Get("labelSelector"), "=")
		field, name, _ := strings.Cut(query.Get("fieldSelector"), "=")
		return strings.HasPrefix(key, resource+"/"+namespace+"/") && (label == "" || labels[label] == value) &&
			(field != "metadata.name" || strings.HasSuffix(key, "/"+name))
	}
	if r.URL.Query().Get("watch") == "true" {
		a.watch(w, r, selected)
		return
	}
	unlock = a.lock()
	items := []any{}
	for key, o := range a.objects {
		if selected(key, o) {
			items = append(items, o)
		}
	}
	body := map[string]any{"kind": "List", "metadata": map[string]any{"resourceVersion": strconv.Itoa(a.version)}, "items": items}
	unlock()
	answer(w, 200, body)
}

func (a *apiServer) watch(w http.ResponseWriter, r *http.Request, selected func(string, map[string]any) bool) {
	version, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	seconds, err2 := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	if err != nil || err2 != nil {
		answer(w, 400, status(400, "BadRequest", "resourceVersion and timeoutSeconds"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	send := func(kind string, o any) {
		json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o})
		w.(http.Flusher).Flush()
	}
	unlock := a.lock()
	cut, oldest, now := a.cut, a.oldest, a.version
	unlock()
	switch {
	case version < oldest:
		send("ERROR", status(410, "Expired", fmt.Sprintf("too old resource version: %d (%d)", version, oldest)))
		return
	case version > now:
		send("ERROR", status(504, "Timeout", fmt.Sprintf("Too large resource version: %d, current: %d", version, now),
			map[string]any{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}))
		return
	}
	w.(http.Flusher).Flush()
	for {
		unlock := a.lock()
		changed := a.changed
		var events []change
		for _, c := range a.history {
			if c.version > version {
				events = append(events, c)
				version = c.version
			}
		}
		unlock()
		for _, c := range events {
			if c.kind == "BOOKMARK" {
				send(c.kind, map[string]any{"metadata": map[string]any{"resourceVersion": strconv.Itoa(c.version)}})
			} else if selected(c.key, c.object) {
				send(c.kind, c.object)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-cut:
			panic(http.ErrAbortHandler)
		}
	}
}

// eps is an EndpointSlice of the service web with these endpoints.
func eps(endpoints ...any) map[string]any {
	return map[string]any{
		"metadata":    map[string]any{"labels": map[string]any{"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
		"addressType": "IPv4",
		"ports":       []any{map[string]any{"name": "dns", "port": 53, "protocol": "UDP"}, map[string]any{"name": "http", "port": 8080, "protocol": "TCP"}, map[string]any{"name": "admin", "port": 9090}},
		"endpoints":   endpoints,
	}
}

// pod is an endpoint with conditions as "ready=false,serving=true".
func pod(name, ip, conditions string) map[string]any {
	set := map[string]any{}
	for c := range strings.SplitSeq(conditions, ",") {
		if key, value, ok := strings.Cut(c, "="); ok {
			set[key] = value == "true"
		}
	}
	return map[string]any{
		"addresses": []any{ip}, "conditions": set, "nodeName": "node-" + name, "zone": "z1", "hostname": nil,
		"targetRef": map[string]any{"kind": "Pod", "name": name, "namespace": "prod", "uid": "u-" + name},
		"hints":     map[string]any{"forZones": []any{map[string]any{"name": "z1"}, map[string]any{"name": "z2"}}},
	}
}

const within = 15 * time.Second

// next returns what is told next.
func next(t *testing.T, tell <-chan sourcetest.Told) sourcetest.Told {
	t.Helper()
	select {
	case u := <-tell:
		return u
	case <-time.After(within):
		t.Fatal("nothing is told")
		panic("unreachable")
	}
}

// expect says what is told next.
func expect(t *testing.T, tell <-chan sourcetest.Told, want string) sourcetest.Told {
	t.Helper()
	u := next(t, tell)
	if u.String() != want {
		t.Fatalf("told %q, want %q", u, want)
	}
	return u
}
