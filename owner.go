package skerry

import (
	"context"
	"strconv"
	"time"
)

// OwnerID names an owner: the one writer of its set.
type OwnerID string

// OwnerKind is the kind of an owner. The meaning of its silence depends on it.
type OwnerKind string

const (
	// AgentOwner is a node agent.
	AgentOwner OwnerKind = "agent"
	// LeaseOwner is a program without an agent: it beats within its TTL, or expires.
	LeaseOwner OwnerKind = "lease"
	// ExternalOwner holds records that an outside program writes through the catalog
	// and does not announce again. It never expires, and an agent's or lease's record
	// of the same node and id wins over its own.
	ExternalOwner OwnerKind = "external"
	// CanaryOwner is a server's own record, which changes again and again so that the way of changes to other
	// servers can be timed. No catalog shows it.
	CanaryOwner OwnerKind = "canary"
)

// Version orders an owner's sets: the epoch grows at every start of the owner,
// the sequence with every change. The newer one wins, everywhere, always.
type Version struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// Less reports whether v is older than w.
func (v Version) Less(w Version) bool {
	return v.Epoch < w.Epoch || v.Epoch == w.Epoch && v.Seq < w.Seq
}

// Set is all that an owner announces.
type Set struct {
	Node      *Node       `json:"node"`
	Instances []*Instance `json:"services,omitempty"`
	Checks    []*Check    `json:"checks,omitempty"`
}

// Delta is a change on top of a version of a set.
type Delta struct {
	Node             *Node       // nil: unchanged
	Instances        []*Instance // new or replaced, by ID
	Checks           []*Check    // new or replaced, by ID
	RemovedInstances []string    // IDs; their checks must be named in RemovedChecks
	RemovedChecks    []string
}

// Announcement is what an owner says: the whole set, or a delta on top of Base.
// The catalog takes ownership of all that it points to; the announcer may go on
// reading it but must not write.
type Announcement struct {
	Owner   OwnerID
	Kind    OwnerKind
	Version Version       // of the set after this announcement
	TTL     time.Duration // leases: the longest silence; 0 for other kinds
	Set     *Set          // the whole set, or nil
	Base    Version       // of the set that Delta applies to
	Delta   *Delta
	Digest  uint64 // of the set after this announcement, as its owner worked it out
}

// Outcome is a receiver's answer to an announcement or a beat.
type Outcome int

const (
	// Applied: the announcement changed the catalog.
	Applied Outcome = iota
	// Unchanged: the announced or confirmed set is already there; no watcher was woken.
	Unchanged
	// Stale: a newer version is already there; the announcement was dropped.
	Stale
	// Resend: the owner or its version is not known here; announce the whole set.
	Resend
)

// Announcer takes in what owners say. All methods may be called at once from
// many goroutines; none blocks on I/O.
type Announcer interface {
	// Announce applies a. An invalid announcement is an error of kind [Invalid]
	// and changes nothing.
	Announce(a Announcement) (Outcome, error)
	// Restore applies an announcement that a process kept on its disk. It gives way to
	// later ones that other processes have.
	Restore(a Announcement) error
	// Beat notes that the owner is alive and has the set with this digest. It answers [Unchanged] or [Resend].
	Beat(id OwnerID, digest uint64) Outcome
	// Withdraw removes the owner and its set at once. v is above all versions before, and
	// stays behind as a tombstone: no announcement of v or an older version revives the
	// owner. It reports whether the owner was there.
	Withdraw(id OwnerID, v Version) bool
	// Known returns the owner's greatest version that is known here, with the digest that
	// was announced with it, also after the owner departed. ok is false for an unknown
	// owner.
	Known(id OwnerID) (v Version, digest uint64, ok bool)
}

// Registration is one instance with its checks, as a program asks for it.
type Registration struct {
	Instance *Instance
	Checks   []CheckDefinition
	// Token is the secret by which the instance was registered; empty: the default one of
	// its agent. Where access is controlled, servers judge by it.
	Token string
	// ReplaceChecks withdraws the checks of the instance that are not named here.
	ReplaceChecks bool
}

// CheckID returns the ID of the nth check: its own, else as Consul makes it,
// "service:<instance ID>", with ":<n+1>" when there are several.
func (r *Registration) CheckID(n int) string {
	switch id := "service:" + r.Instance.ID; {
	case r.Checks[n].ID != "":
		return r.Checks[n].ID
	case len(r.Checks) > 1:
		return id + ":" + strconv.Itoa(n+1)
	default:
		return id
	}
}

// Registrar is a node's own set as programs on that node change it. A method
// that returns nil has made the change durable. Errors are of kind [Invalid],
// [NotFound], or [Unavailable] when the change could not be written to disk.
type Registrar interface {
	RegisterService(ctx context.Context, r Registration) error
	DeregisterService(ctx context.Context, id string) error
	// DrainService makes an instance drain, and returns it. It is deregistered afterwards, or registered anew.
	DrainService(ctx context.Context, id string) (*Instance, error)
	RegisterCheck(ctx context.Context, d CheckDefinition) error
	DeregisterCheck(ctx context.Context, id string) error
	// UpdateTTL refreshes a TTL check: its state, its output, and a full TTL from now.
	UpdateTTL(ctx context.Context, id string, status Health, output string) error
	// SetMaintenance turns maintenance mode on or off: of the instance with this
	// ID, or of the whole node when serviceID is empty.
	SetMaintenance(ctx context.Context, serviceID string, on bool, reason string) error
	// ReplaceSet makes the instances and their checks exactly those given, in
	// one change. It reports whether anything was different.
	ReplaceSet(ctx context.Context, rs []Registration) (changed bool, err error)
}

// Local reads a node's own set, which its agent announces.
type Local interface {
	Node() *Node
	// Instances and Checks return all, ordered by ID.
	Instances() []*Instance
	Checks() []*Check
	// Instance returns the instance with this ID and its checks, the node's checks
	// apart; nil if there is none.
	Instance(id string) (i *Instance, own, node []*Check)
	// Changed returns a channel that is closed at the next change of the local
	// set other than a check's output.
	Changed() <-chan struct{}
}

// Leases are the sets of programs that have no agent and beat for themselves.
type Leases interface {
	// PutOwner announces the owner's whole set and starts or renews its lease.
	// It returns the digest to beat with, and whether anything changed.
	PutOwner(ctx context.Context, id OwnerID, set Set, ttl time.Duration) (digest uint64, changed bool, err error)
	// BeatOwner answers [Unchanged] ("ok") or [Resend] ("send it all").
	BeatOwner(id OwnerID, digest uint64) Outcome
	// DrainOwner makes the owner's instances drain, and returns its set; an error of kind [NotFound] if there is no
	// owner.
	DrainOwner(ctx context.Context, id OwnerID) (*Set, error)
	// DeleteOwner withdraws the owner; an error of kind [NotFound] if there is none.
	DeleteOwner(ctx context.Context, id OwnerID) error
}

// ExternalRecord is a write through the catalog: a node and, optionally,
// instances and checks on it.
type ExternalRecord struct {
	Node *Node
	// KeepNode leaves a node of that name as it is when there is one.
	KeepNode bool
	Instance *Instance
	Checks   []*Check
}

// External are the records that outside programs write through the catalog.
// A method that returns nil has made the change durable, and this server's catalog
// shows it.
type External interface {
	PutExternal(ctx context.Context, r ExternalRecord) error
	// DeleteExternal removes the instance or the check with this ID from the
	// node, or the whole node when both are empty. Deleting the unknown is no error.
	DeleteExternal(ctx context.Context, node, serviceID, checkID string) error
}
