// Package catalog is the table of all owners' sets, and the views on it.
//
// It is pure: no socket, no disk, and the clock is passed in. Its promises are
// the tests of package catalogtest. DESIGN.md describes how it works and the price of
// its decisions.
package catalog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
)

// Config is what a Table needs to know. The zero value of a field means its default.
type Config struct {
	// FirstIndex is where the change counter begins: see [FirstIndex].
	FirstIndex uint64
	// Now and After are the clock; default time.Now and time.AfterFunc. After must
	// not call the function before it returns.
	Now   func() time.Time
	After func(time.Duration, func())
	// Coalesce is how long a change waits for others before watchers are woken;
	// default 2 ms.
	Coalesce time.Duration
	// OutputEvery is how long readers may see the last output of a check; default
	// 250 ms. Outputs change all the time, and each change costs new views.
	OutputEvery time.Duration
	// Recover is how long after the start owners may come back: an empty answer has this
	// cause; default 0.
	Recover time.Duration
	Guard   Guard
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FirstIndex == 0 {
		c.FirstIndex = FirstIndex(c.Now(), 0, 0)
	}
	if c.After == nil {
		c.After = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	if c.Coalesce == 0 {
		c.Coalesce = 2 * time.Millisecond
	}
	if c.OutputEvery == 0 {
		c.OutputEvery = 250 * time.Millisecond
	}
	c.Guard = c.Guard.withDefaults()
	return c
}

// Table implements [skerry.Catalog] and [skerry.Announcer].
type Table struct {
	cfg          Config
	recoverUntil time.Time

	// warm are the services that were read, for readers without a lock; written
	// under mu. Most of a large catalog is never read, and costs less apart.
	warm sync.Map // folded name → *service

	mu       sync.RWMutex
	index    uint64              // the last one issued
	services map[string]*service // by folded name
	owners   map[skerry.OwnerID]*owner
	nodes    map[string]*node // by folded name
	departed departures
	swept    time.Time // when Tick forgot last
	guard    guardState
	topics   topics
	outputs  outputs

	addresses atomic.Pointer[addressBook]
	nameList  atomic.Pointer[nameList]
}

var (
	_ skerry.Catalog   = (*Table)(nil)
	_ skerry.Announcer = (*Table)(nil)
)

// New returns an empty table.
func New(cfg Config) *Table {
	cfg = cfg.withDefaults()
	now := cfg.Now()
	t := &Table{
		cfg:          cfg,
		recoverUntil: now.Add(cfg.Recover),
		index:        cfg.FirstIndex,
		owners:       map[skerry.OwnerID]*owner{},
		nodes:        map[string]*node{},
		services:     map[string]*service{},
	}
	t.departed = newDepartures()
	t.topics = newTopics(cfg.FirstIndex)
	return t
}

// owner is one owner's set, indexed for reading.
type owner struct {
	id      skerry.OwnerID
	kind    skerry.OwnerKind
	version skerry.Version
	node    *skerry.Node
	at      *node
	items   map[string]*item         // by service ID; "" holds the node's checks
	checks  map[string]*skerry.Check // by check ID
	leased  bool                     // it has a TTL
	held    bool                     // by the guard

	digest uint64 // that the owner announced
}

// item is an instance with its checks. Without instance it holds checks of the
// node, or of an instance that another owner announced.
type item struct {
	owner    *owner
	instance *skerry.Instance
	checks   []*skerry.Check // ordered by ID
	listed   bool            // among the instances of its service: no other owner's record outranks it
}

// node is a node name with the owners that announced it.
type node struct {
	key    string
	owners []*owner // the one whose record wins first
	topic  topic
	view   atomic.Pointer[skerry.NodeView]
	old    bool // the view shows an old output
}

func (n *node) record() *skerry.Node { return n.owners[0].node }

// service holds the instances of one service name in all its spellings; there is at least
// one item.
type service struct {
	items     []*item // ordered by node, ID
	spellings []spelling
	tags      map[use]int // how many have it; nil while they are few
	topic     topic
	view      atomic.Pointer[skerry.View]
	old       bool // the view shows an old output
}

// spelling is how some instances write their service's name.
type spelling struct {
	name  string
	count int
}

// use is a tag of instances that write their service's name alike.
type use struct{ name, tag string }

// outranks reports whether the records of o win over those of p with the same node and ID.
func (o *owner) outranks(p *owner) bool {
	if (o.kind == skerry.ExternalOwner) != (p.kind == skerry.ExternalOwner) {
		return p.kind == skerry.ExternalOwner
	}
	return o.id < p.id
}

func (t *Table) next() uint64 {
	t.index += indexStep
	return t.index
}
