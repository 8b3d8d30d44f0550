// Package decided puts together the packages that give the quorum store its meaning. They
// know no engine and no protocol. DESIGN.md has the map.
package decided

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/decided/coordinate"
	"github.com/skerryhq/skerry/decided/event"
	"github.com/skerryhq/skerry/decided/external"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/query"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/decided/settings"
	"github.com/skerryhq/skerry/decided/snapshot"
	"github.com/skerryhq/skerry/decided/txn"
)

// Catalog is the catalog, with and without the external records.
type Catalog interface {
	skerry.Catalog
	// Owned returns a node as its owners announce it, without the external records, or
	// nil.
	Owned(name string) *skerry.NodeView
}

// Options configure the [Parts].
type Options struct {
	KV        skerry.KV // the quorum store
	Catalog   Catalog
	Announcer skerry.Announcer // shows the external records in Catalog
	Local     skerry.Local     // the node that hears user events
	Self      string           // this server's id: unique, and the same after a restart
	// ShortestTTL is the shortest TTL that a session may have; default 10 s.
	ShortestTTL time.Duration
	// Sealer seals the tokens of prepared queries. Without a Sealer a query can have none.
	Sealer query.Sealer
	// Datacenters are the others, for prepared queries that fail over; nil: none is known.
	Datacenters skerry.Datacenters
	// Autopilot is the configuration's: it counts until another is decided.
	Autopilot skerry.Autopilot
	// Meta describes this server in the archives of snapshots.
	Meta archive.Meta
	// MaxSnapshot bounds the size to which a restored archive may unpack; 0 is no bound.
	MaxSnapshot int64
	Log         *slog.Logger // default: discard
}

// Keys are the key/value entries and the transactions on them.
type Keys struct {
	*kv.Store
	*txn.Runner
}

// Parts are the packages below this one, over one quorum store and one catalog.
type Parts struct {
	Keys        Keys
	Sessions    *session.Store
	External    *external.Store
	Queries     *query.Store
	Events      *event.Log
	Coordinates *coordinate.Store
	Snapshots   *snapshot.Keeper
	Settings    *settings.Store

	decider *session.Decider
	sweeper *once.Sweeper
}

// New returns the parts. Their loops begin with Run.
func New(o Options) *Parts {
	keys := kv.New(kv.Options{KV: o.KV})
	sessions := session.New(session.Options{KV: o.KV, Catalog: o.Catalog, ShortestTTL: o.ShortestTTL, Log: o.Log})
	records := external.New(external.Options{KV: o.KV, Catalog: o.Catalog, Announcer: o.Announcer, Sessions: sessions, Log: o.Log})
	coordinates := coordinate.New(coordinate.Options{KV: o.KV, Catalog: o.Catalog, Log: o.Log})
	decider := session.NewDecider(session.DeciderOptions{Sessions: sessions, Self: o.Self, Log: o.Log})
	return &Parts{
		Keys: Keys{
			keys, txn.New(txn.Options{KV: o.KV, Keys: keys, Sessions: sessions, External: records}),
		},
		Sessions:    sessions,
		External:    records,
		Queries:     query.New(query.Options{KV: o.KV, Catalog: o.Catalog, From: coordinates.From, Sealer: o.Sealer, Datacenters: o.Datacenters, Log: o.Log}),
		Events:      event.New(event.Options{KV: o.KV, Local: o.Local, Log: o.Log}),
		Coordinates: coordinates,
		Snapshots:   snapshot.New(snapshot.Options{KV: o.KV, Sessions: sessions, Meta: o.Meta, MaxBytes: o.MaxSnapshot, Log: o.Log}),
		Settings:    settings.New(o.KV, o.Autopilot),
		decider:     decider,
		sweeper:     &once.Sweeper{KV: o.KV, Leads: decider.Leading, Log: o.Log},
	}
}

// Leader returns the id of the server that decides on sessions and locks, empty if none does.
func (p *Parts) Leader() string { return p.decider.Leader() }

// Leading reports whether this server is the one that decides on sessions and locks.
func (p *Parts) Leading() bool { return p.decider.Leading() }

// Run runs the loops of the parts until ctx ends.
func (p *Parts) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, run := range []func(context.Context){
		p.decider.Run, p.External.Run, p.Events.Run, p.Coordinates.Run, p.Queries.Run, p.sweeper.Run,
	} {
		all.Go(func() { run(ctx) })
	}
	all.Wait()
}

func (p *Parts) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.Sessions, p.Keys.Store, p.decider, p.Snapshots}
}

// Describe implements [prometheus.Collector].
func (p *Parts) Describe(to chan<- *prometheus.Desc) {
	for _, c := range p.collectors() {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (p *Parts) Collect(to chan<- prometheus.Metric) {
	for _, c := range p.collectors() {
		c.Collect(to)
	}
}
