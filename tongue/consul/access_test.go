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
	"github.com/skerryhq/skerry/keyspace"
	"github.com/skerryhq/skerry/tongue/consul"
)

const managementSecret = "aaaaaaaa-0000-4000-8000-00000000000a"

// crowd is a front-end over a service of 100 instances, with access control or without.
func crowd(t testing.TB, controlled bool) *consul.Tongue {
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
	b := consul.Backend{Catalog: table}
	if controlled {
		s, err := access.New(access.Options{KV: keyspace.NewMemory(), Datacenter: "dc1", InitialManagement: managementSecret, Defaults: rules.Strict})
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
	front, err := consul.New(consul.Config{Datacenter: "dc1", NodeName: "n1"}, b, prometheus.NewRegistry())
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
