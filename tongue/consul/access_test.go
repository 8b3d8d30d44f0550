package consul_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/follow/hub"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
	"github.com/skerryhq/skerry/tongue/consul"
)

const managementSecret = "aaaaaaaa-0000-4000-8000-00000000000a"

// crowd is a front-end over a service of 100 instances, with access control or without.
func crowd(t testing.TB, controlled bool) *consul.Tongue {
	t.Helper()
	return crowdOf(t, controlled, false, func(c skerry.Catalog) skerry.Catalog { return c })
}

// crowdOf is crowd with a catalog of another kind, where hide hides what may not be seen.
func crowdOf(t testing.TB, controlled, hide bool, shown func(skerry.Catalog) skerry.Catalog) *consul.Tongue {
	t.Helper()
	table := catalog.New(catalog.Config{FirstIndex: 1})
	for i := range 100 {
		node := fmt.Sprintf("n%d", i)
		_, err := table.Announce(skerry.Announcement{
			Owner: skerry.OwnerID(node), Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: 1},
			Set: &skerry.Set{
				Node:      &skerry.Node{Name: node, Address: "10.0.0.1", Datacenter: "dc1"},
				Instances: []*skerry.Instance{{ID: "web", Service: "web", Port: 80, Weights: skerry.Weights{Passing: 1, Warning: 1}}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b := consul.Backend{Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: shown(table), Subscriber: hub.New(skerry.Discover(table), begins)}
	if controlled {
		s, err := access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc1", InitialManagement: managementSecret, Defaults: rules.Strict, Hide: hide})
		if err != nil || s.Init(t.Context()) != nil {
			t.Fatal(err)
		}
		policy, err := s.PutPolicy(t.Context(), skerry.Policy{Name: "half", Rules: `service "web" { policy = "read" } node_prefix "n1" { policy = "read" }`})
		if err != nil {
			t.Fatal(err)
		}
		half := skerry.Token{Secret: halfSecret, Grants: skerry.Grants{Policies: []skerry.Link{{ID: policy.ID}}}}
		if _, err := s.CreateToken(t.Context(), half, 0); err != nil {
			t.Fatal(err)
		}
		b.Gate, b.ACL = access.NewGate(s, nil), s
	}
	front, err := consul.New(consul.Config{}, b, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	return front
}

const halfSecret = "bbbbbbbb-0000-4000-8000-00000000000b"

// blackhole takes an answer and keeps its length.
type blackhole struct {
	header http.Header
	status int
	bytes  int
}

func (b *blackhole) Header() http.Header { return b.header }
func (b *blackhole) WriteHeader(s int)   { b.status = s }
func (b *blackhole) Write(p []byte) (int, error) {
	b.bytes += len(p)
	return len(p), nil
}

func askHealth(front *consul.Tongue, token string) *blackhole {
	w := &blackhole{header: http.Header{}}
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/v1/health/service/web"}, Header: http.Header{}, Body: http.NoBody}
	if token != "" {
		r.Header["X-Consul-Token"] = []string{token}
	}
	front.ServeHTTP(w, r)
	return w
}

// The most used endpoint costs a token no more than finding it: answers are
// shared by all who may see the same, whatever share of the instances that is.
func TestAccessCostsLittle(t *testing.T) {
	open, controlled := crowd(t, false), crowd(t, true)
	base := testing.AllocsPerRun(200, func() { askHealth(open, managementSecret) })
	whole, half := askHealth(controlled, managementSecret), askHealth(controlled, halfSecret)
	if whole.bytes != askHealth(open, "").bytes || half.bytes >= whole.bytes || half.bytes < 100 || half.header.Get("X-Consul-Results-Filtered-By-ACLs") != "true" {
		t.Fatalf("answers of %d and %d bytes, %v", whole.bytes, half.bytes, half.header)
	}
	for name, token := range map[string]string{"who sees all": managementSecret, "who sees some": halfSecret} {
		got := testing.AllocsPerRun(200, func() { askHealth(controlled, token) })
		t.Logf("%s: %v allocations, %v without access control", name, got, base)
		if got > base+6 { // keys of what is shared, and the header of those who see less
			t.Errorf("%s: %v allocations, %v without access control", name, got, base)
		}
	}
}

// A caller that sees all pays nothing for what is hidden from others.
func TestHidingCostsWhoSeesAllNothing(t *testing.T) {
	same := func(c skerry.Catalog) skerry.Catalog { return c }
	told, hiding := crowdOf(t, true, false, same), crowdOf(t, true, true, same)
	base := testing.AllocsPerRun(200, func() { askHealth(told, managementSecret) })
	if got := testing.AllocsPerRun(200, func() { askHealth(hiding, managementSecret) }); got > base {
		t.Errorf("%v allocations, %v where nothing is hidden", got, base)
	}
	some := testing.AllocsPerRun(200, func() { askHealth(told, halfSecret) })
	if got := testing.AllocsPerRun(200, func() { askHealth(hiding, halfSecret) }); got > some+15 {
		t.Errorf("who sees some: %v allocations, %v where nothing is hidden", got, some)
	}
}

// held is a catalog whose guard holds every instance.
type held struct{ skerry.Catalog }

func (h held) Service(name string) *skerry.View {
	v := h.Catalog.Service(name)
	out := &skerry.View{Service: name, Index: v.Index, Cause: skerry.CauseGuarded, Guarded: len(v.Entries)}
	for _, e := range v.Entries {
		guarded := *e
		guarded.Guarded = true
		out.Entries = append(out.Entries, &guarded)
	}
	return out
}

// What the guard holds is counted as it is seen, where the rest is hidden.
func TestGuardedIsCountedAsSeen(t *testing.T) {
	for hide, want := range map[bool]string{false: "100", true: "11"} { // n1 and n10 to n19
		front := crowdOf(t, true, hide, func(c skerry.Catalog) skerry.Catalog { return held{c} })
		if got := askHealth(front, halfSecret).header.Get("X-Skerry-Guarded"); got != want {
			t.Errorf("hiding %v: %s are guarded, want %s", hide, got, want)
		}
	}
}

func BenchmarkHealth(b *testing.B) {
	for _, bc := range []struct {
		name       string
		controlled bool
		token      string
	}{{"open", false, ""}, {"all", true, managementSecret}, {"some", true, halfSecret}} {
		b.Run(bc.name, func(b *testing.B) {
			front := crowd(b, bc.controlled)
			b.ReportAllocs()
			for b.Loop() {
				askHealth(front, bc.token)
			}
		})
	}
}

// What cannot be encoded is an error each time, and no empty list.
func TestAnswerThatCannotBeEncoded(t *testing.T) {
	table := catalog.New(catalog.Config{FirstIndex: 1})
	_, err := table.Announce(skerry.Announcement{
		Owner: "o", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: 1},
		Set: &skerry.Set{
			Node:      &skerry.Node{Name: "n", Address: "10.0.0.1"},
			Instances: []*skerry.Instance{{ID: "web", Service: "web", Extra: &skerry.Extra{Proxy: []byte("{")}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	front, err := consul.New(consul.Config{}, consul.Backend{Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: table}, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if w := askHealth(front, ""); w.status != http.StatusInternalServerError {
			t.Errorf("status %d with %d bytes", w.status, w.bytes)
		}
	}
}

// A request without a token that an agent passes on is anonymous: the default token of this process is for its own
// callers.
func TestRequestsThatArePassedOnHaveNoDefaultToken(t *testing.T) {
	s, err := access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc1", InitialManagement: managementSecret, Defaults: rules.Strict})
	if err != nil || s.Init(t.Context()) != nil {
		t.Fatal(err)
	}
	tokens, err := access.NewAgentTokens(map[string]string{access.DefaultToken: managementSecret}, "")
	if err != nil {
		t.Fatal(err)
	}
	front, err := consul.New(consul.Config{}, consul.Backend{
		Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: catalog.New(catalog.Config{}), Gate: access.NewGate(s, tokens), ACL: s,
	}, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	const allowed, refused = http.StatusInternalServerError, http.StatusForbidden // there is no keyring
	for token, want := range map[string][2]int{"": {allowed, refused}, managementSecret: {allowed, allowed}, skerry.AnonymousSecret: {refused, refused}} {
		for i, node := range []string{"", "web1"} {
			r := &http.Request{Method: "GET", URL: &url.URL{Path: "/v1/operator/keyring"}, Header: http.Header{}, Body: http.NoBody}
			if token != "" {
				r.Header.Set("X-Consul-Token", token)
			}
			w := &blackhole{header: http.Header{}, status: http.StatusOK}
			front.ServeHTTP(w, consul.AskedAt(r, consul.Asked{Node: node}))
			if w.status != want[i] {
				t.Errorf("token %q, passed on by %q: %d, want %d", token, node, w.status, want[i])
			}
		}
	}
}
