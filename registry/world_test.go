package registry_test

import (
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/catalog/catalogtest"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/propagation"
	"github.com/skerryhq/skerry/registry"
)

// server is a catalog and its registry.
type server struct {
	*registry.Registry
	table    *catalog.Table
	id       cluster.ServerID
	departed []skerry.OwnerID
	figures  *prometheus.Registry
	meter    *propagation.Meter
	agents   func(service string, report func(took map[string]time.Duration, late []string))
}

// newServer returns a server on the clock of cfg. It recovers for no time.
func newServer(id string, expect int, cfg catalog.Config) *server {
	s := &server{table: catalog.New(cfg), id: cluster.ServerID(id), figures: prometheus.NewRegistry()}
	s.meter = propagation.New(id, s.figures)
	s.Registry = registry.New(registry.Config{
		Meter: s.meter,
		Agents: func(service string, report func(map[string]time.Duration, []string)) {
			if s.agents != nil {
				s.agents(service, report)
			}
		},
		Self: s.id, Life: cluster.Life(cfg.Now().UnixMilli()), Of: expect, Table: s.table, Now: cfg.Now,
		Timing: cluster.Timing{Recover: max(cfg.Recover, 1), Settle: time.Nanosecond}, Rand: rand.New(rand.NewPCG(1, 2)), Log: slog.New(slog.DiscardHandler), Registerer: s.figures,
		Departed: func(owners map[skerry.OwnerID]skerry.Version) {
			s.departed = append(s.departed, slices.Sorted(maps.Keys(owners))...)
		},
	})
	return s
}

// network carries frames between servers when it is pumped.
type network struct {
	servers []*server
	frames  []frame
	cut     map[[2]cluster.ServerID]bool
}

type frame struct {
	from, to cluster.ServerID
	data     []byte
}

// end is a server's end of the network.
type end struct {
	n    *network
	from cluster.ServerID
}

func (e end) Send(to string, data []byte) error {
	for _, s := range e.n.servers {
		if s.id != e.from && (to == "" || to == string(s.id)) && !e.n.cut[[2]cluster.ServerID{e.from, s.id}] {
			e.n.frames = append(e.n.frames, frame{e.from, s.id, data})
		}
	}
	return nil
}

// join adds a server to the network.
func (n *network) join(s *server) {
	n.servers = append(n.servers, s)
	s.Connect(end{n, s.id})
}

// pump delivers frames until none is under way.
func (n *network) pump() {
	for {
		for _, s := range n.servers {
			s.Flush()
		}
		frames := n.frames
		if n.frames = nil; len(frames) == 0 {
			return
		}
		for _, f := range frames {
			for _, s := range n.servers {
				if s.id == f.to {
					s.Receive(string(f.from), f.data)
				}
			}
		}
	}
}

// run lets time pass with ticks and frames.
func (n *network) run(d time.Duration, pass func(time.Duration)) {
	for ; d > 0; d -= registry.TickEvery {
		pass(registry.TickEvery)
		for _, s := range n.servers {
			s.Tick()
		}
		n.pump()
	}
}

// form makes three servers that hear each other.
func form(cfg catalog.Config, pass func(time.Duration)) *network {
	n := &network{cut: map[[2]cluster.ServerID]bool{}}
	for _, id := range []string{"s1", "s2", "s3"} {
		n.join(newServer(id, 3, cfg))
	}
	n.run(2*time.Second, pass)
	return n
}

func TestEventually(t *testing.T) {
	catalogtest.RunEventually(t, func(_ *testing.T, cfg catalog.Config, pass func(time.Duration)) catalogtest.Cluster {
		n := form(cfg, pass)
		c := catalogtest.Cluster{Settle: func() { n.run(2*time.Second, pass) }}
		for _, s := range n.servers {
			c.Carriers, c.Catalogs = append(c.Carriers, s.Registry), append(c.Catalogs, s.table)
		}
		return c
	})
}
