package consul_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/door/park"
	"github.com/skerryhq/skerry/rescue"
	"github.com/skerryhq/skerry/tongue/consul"
)

// trap is a catalog that panics once it is set: when it is read, or when it is watched.
type trap struct {
	skerry.Catalog
	reads, watches atomic.Bool
}

func (c *trap) Service(name string) *skerry.View {
	if c.reads.Load() {
		panic("read")
	}
	return c.Catalog.Service(name)
}

func (c *trap) Watch(of skerry.Topic) (uint64, <-chan struct{}) {
	if c.watches.Load() {
		panic("watched")
	}
	return c.Catalog.Watch(of)
}

// A parked request whose answer panics is answered with 500, also where it shares its
// answer with others, and the process goes on.
func TestParkedRequestThatPanics(t *testing.T) {
	for name, set := range map[string]func(*trap){
		"when it is answered": func(c *trap) { c.reads.Store(true) },
		"while it waits":      func(c *trap) { c.watches.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			table := catalog.New(catalog.Config{FirstIndex: 1})
			register := func(seq uint64, port int) {
				_, err := table.Announce(skerry.Announcement{
					Owner: "o", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: seq},
					Set: &skerry.Set{Node: &skerry.Node{Name: "n", Address: "10.0.0.1"}, Instances: []*skerry.Instance{{ID: "web", Service: "web", Port: port}}},
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			register(1, 1)
			c := &trap{Catalog: table}
			registry := prometheus.NewRegistry()
			metrics := consul.NewMetrics(registry)
			lot := park.New(park.Config{Waiting: metrics.Blocking(), Net: rescue.New(slog.New(slog.DiscardHandler), registry)})
			front, err := consul.New(consul.Config{ParkAfter: time.Microsecond},
				consul.Backend{Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: c, Lot: lot}, metrics)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewServer(front)
			defer s.Close()
			defer lot.Close()
			get := func(query string) (int, http.Header) {
				resp, err := http.Get(s.URL + "/v1/health/service/web" + query)
				if err != nil {
					t.Error(err)
					return 0, nil
				}
				defer resp.Body.Close()
				io.Copy(io.Discard, resp.Body)
				return resp.StatusCode, resp.Header
			}
			_, header := get("")
			const clients = 3
			answers := make(chan int, clients)
			for range clients {
				go func() {
					status, _ := get("?wait=60s&index=" + header.Get("X-Consul-Index"))
					answers <- status
				}()
			}
			blocked := func(want float64) bool {
				families, err := registry.Gather()
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range families {
					if f.GetName() == "skerry_http_blocking_queries" {
						return f.GetMetric()[0].GetGauge().GetValue() == want
					}
				}
				return false
			}
			for !blocked(clients) {
				time.Sleep(time.Millisecond)
			}
			set(c)
			register(2, 2)
			for range clients {
				if status := <-answers; status != http.StatusInternalServerError {
					t.Errorf("the answer is %d, want 500", status)
				}
			}
			for end := time.Now().Add(10 * time.Second); !blocked(0); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("requests that were answered are counted as waiting")
				}
			}
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			counted := 0.
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if f.GetName() == "skerry_panics_total" {
						counted += m.GetCounter().GetValue()
					}
				}
			}
			if counted == 0 {
				t.Error("the panics are not counted")
			}
			c.reads.Store(false)
			c.watches.Store(false)
			if status, _ := get(""); status != http.StatusOK {
				t.Errorf("later requests are answered with %d", status)
			}
		})
	}
}
