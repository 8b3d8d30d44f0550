// Package agent is a node's own set: the instances that programs on this node registered,
// their checks and maintenance mode. It keeps the set on disk, runs the checks and
// announces every change to the catalog. See DESIGN.md.
package agent

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/rescue"
)

// Config configures an agent.
type Config struct {
	Owner skerry.OwnerID
	Node  skerry.Node
	// NodeChecks are checks of the node that the process itself vouches for.
	NodeChecks []*skerry.Check
	// Own are instances that stand for this process, registered beside the others
	// and not withdrawable.
	Own []*skerry.Instance
	// KeepTokens keeps the tokens by which services are registered, on disk too: another process judges by
	// them.
	KeepTokens bool
	// MaxRecords bounds the instances and checks; 0: they have no bound.
	MaxRecords int
	// Dir holds the deadlines of TTL checks; "" keeps nothing.
	Dir           string
	Kinds         check.Table
	Policy        check.Policy // for registrations by programs
	LocalPolicy   check.Policy // for registrations from files on this node
	Runners       int          // checks under way at once; default 256
	OutputMaxSize int          // bytes kept of a check's output; default 4096
	DiscardOutput bool
	// ReapEvery is how often deregister_critical_service_after is looked at;
	// default 1 s.
	ReapEvery  time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Net        *rescue.Net // recovers the panics of checks; nil: they are not recovered
}

// Agent implements [skerry.Registrar], [skerry.Local] and [journal.Keeper].
type Agent struct {
	cfg     Config
	outbox  skerry.Outbox
	ledger  *journal.Ledger
	runner  *check.Runner
	log     *slog.Logger
	started time.Time

	// edit serialises changes of the set. It is held while the runner is called, so that
	// the runner follows the changes in their order; never while waiting for disk.
	edit sync.Mutex

	mu        sync.RWMutex
	version   skerry.Version
	sum       uint64 // of the digests of all records, once counted
	counted   bool
	services  map[string]*service // by instance ID
	node      service             // holds the node's checks
	checks    map[string]*checkState
	reapable  map[string]*checkState // critical, with a time to be withdrawn after
	changed   chan struct{}
	deadlines *deadlines
	ttlDefs   map[ttlKey]*skerry.CheckDefinition
	resume    map[string]time.Duration // until Start: the time left of TTL checks
	last      *journal.Batch           // of the last record of an edit
}

// service is an instance with its checks; without instance, the node's checks.
type service struct {
	instance *skerry.Instance
	digest   uint64        // of instance, among Agent.sum
	checks   []*checkState // in no order
	source   source
	token    string // by which it was registered; empty: none of its own
}

// checkState is a check with its definition. check is replaced, never written to.
type checkState struct {
	check  *skerry.Check
	digest uint64                  // of check, among Agent.sum
	def    *skerry.CheckDefinition // nil for maintenance and the process's own
	source source
	slot   int32          // of its deadline; noSlot for other kinds than TTL
	batch  *journal.Batch // of the last state written
}

// source is the origin of a registration: each source replaces its own as a whole and
// leaves the others' alone.
type source string

const (
	sourceAPI     source = ""        // one-by-one endpoints and whole sets by HTTP
	sourceConfig  source = "config"  // configuration files
	sourceProcess source = "process" // this process itself: never withdrawn
	filePrefix           = "file:"   // and its name: a file in the watched folder
)

// New returns an agent that has nothing yet: open the ledger with it as the
// keeper named [KeeperName], then call Start.
func New(cfg Config) *Agent {
	if cfg.ReapEvery == 0 {
		cfg.ReapEvery = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		cfg: cfg, log: cfg.Log,
		services: map[string]*service{},
		checks:   map[string]*checkState{},
		reapable: map[string]*checkState{},
		ttlDefs:  map[ttlKey]*skerry.CheckDefinition{},
		resume:   map[string]time.Duration{},
	}
	a.runner = check.NewRunner(check.Config{
		Kinds: cfg.Kinds, Node: cfg.Node.Name, MaxParallel: cfg.Runners, OutputMaxSize: cfg.OutputMaxSize,
		Report: a.report, Log: cfg.Log, Registerer: cfg.Registerer, Net: cfg.Net,
	})
	return a
}

// Start has carrier announce the set that was replayed, and begins to run its checks. It
// must be called once, before any other method but those of [journal.Keeper].
func (a *Agent) Start(ledger *journal.Ledger, carrier skerry.Carrier) error {
	a.edit.Lock()
	defer a.edit.Unlock()
	a.ledger = ledger
	a.started = time.Now()
	moved, err := a.resumeDeadlines()
	if err != nil {
		return err
	}
	a.restore(moved)
	a.outbox = carrier.Carry(a.cfg.Owner, skerry.AgentOwner, 0, a)
	var restored []*checkState
	a.mu.RLock()
	for _, cs := range a.checks {
		if cs.def != nil {
			restored = append(restored, cs)
		}
	}
	a.mu.RUnlock()
	for _, cs := range restored {
		a.startCheck(cs, false)
	}
	clear(a.resume)
	return nil
}

// restore completes the set that was replayed, as a new epoch.
func (a *Agent) restore(moved []*checkState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// The clock may have gone back since the last start.
	a.version = skerry.Version{Epoch: max(a.version.Epoch+1, uint64(a.started.UnixMilli())), Seq: 1}
	a.dropDraining()
	for _, c := range a.cfg.NodeChecks {
		a.place(&checkState{check: c, source: sourceProcess, slot: noSlot})
	}
	for _, i := range a.cfg.Own {
		a.services[i.ID] = &service{instance: i, source: sourceProcess}
	}
	a.ledger.Append(KeeperName, record{Epoch: a.version.Epoch})
	for _, cs := range moved {
		a.ledger.Append(KeeperName, record{Check: ptr(recordOf(cs))})
	}
	for _, cs := range a.checks {
		a.noteReap(cs)
	}
	a.count()
}

// Whole implements [skerry.Source].
func (a *Agent) Whole() (skerry.Version, uint64, *skerry.Set) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.version, a.digest(), a.set()
}

// set returns the whole set. Called with mu held.
func (a *Agent) set() *skerry.Set {
	node := a.cfg.Node
	s := &skerry.Set{Node: &node}
	for _, sv := range a.services {
		s.Instances = append(s.Instances, sv.instance)
	}
	for _, cs := range a.checks {
		s.Checks = append(s.Checks, cs.check)
	}
	return s
}

// Close stops the checks. Acknowledged changes are on disk already.
func (a *Agent) Close() {
	a.runner.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deadlines.close()
}

// Node implements [skerry.Local].
func (a *Agent) Node() *skerry.Node {
	node := a.cfg.Node
	return &node
}

// Instances implements [skerry.Local].
func (a *Agent) Instances() []*skerry.Instance {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]*skerry.Instance, 0, len(a.services))
	for _, s := range a.services {
		if s.source != sourceProcess {
			out = append(out, s.instance)
		}
	}
	slices.SortFunc(out, func(x, y *skerry.Instance) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// Checks implements [skerry.Local].
func (a *Agent) Checks() []*skerry.Check {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]*skerry.Check, 0, len(a.checks))
	for _, cs := range a.checks {
		if cs.source != sourceProcess {
			out = append(out, cs.check)
		}
	}
	sortChecks(out)
	return out
}

// Instance implements [skerry.Local].
func (a *Agent) Instance(id string) (i *skerry.Instance, own, node []*skerry.Check) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s := a.services[id]
	if s == nil || s.source == sourceProcess {
		return nil, nil, nil
	}
	return s.instance, s.records(), a.node.records()
}

// records returns the checks that programs asked for, ordered by ID.
func (s *service) records() []*skerry.Check {
	out := []*skerry.Check{}
	for _, cs := range s.checks {
		if cs.source != sourceProcess {
			out = append(out, cs.check)
		}
	}
	sortChecks(out)
	return out
}

func sortChecks(cs []*skerry.Check) {
	slices.SortFunc(cs, func(x, y *skerry.Check) int { return cmp.Compare(x.ID, y.ID) })
}

// holder returns the owner of the checks of this service ID ("": of the node).
func (a *Agent) holder(serviceID string) *service {
	if serviceID == "" {
		return &a.node
	}
	return a.services[serviceID]
}

// place puts a check among all and among its service's.
func (a *Agent) place(cs *checkState) {
	if old := a.checks[cs.check.ID]; old != nil {
		a.unplace(old)
	}
	a.checks[cs.check.ID] = cs
	a.tallyCheck(cs)
	if h := a.holder(cs.check.ServiceID); h != nil {
		h.checks = append(h.checks, cs)
	}
}

func (a *Agent) unplace(cs *checkState) {
	delete(a.checks, cs.check.ID)
	a.sum -= cs.digest
	cs.digest = 0
	if h := a.holder(cs.check.ServiceID); h != nil {
		h.checks = slices.DeleteFunc(h.checks, func(x *checkState) bool { return x == cs })
	}
}

// Changed implements [skerry.Local].
func (a *Agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

// wakeLocal is called with mu held.
func (a *Agent) wakeLocal() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}
