package consul

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// Backend has the interfaces that the front-end uses.
type Backend struct {
	Self      skerry.Self
	Cluster   skerry.Cluster           // nil: this process alone
	Servers   skerry.Servers           // nil: likewise
	Forward   Forwarder                // lets servers answer, at an agent of theirs; nil: this process answers
	Written   func()                   // is told that a server may have changed services for a caller of this agent
	Attached  func() skerry.Attachment // of this agent; nil: it joins no server
	Ready     func() error             // an error while the catalog is not whole; nil: it always is
	Discovery skerry.Discovery         // nil: that of Catalog
	// Datacenters are the other datacenters; nil: this process knows none.
	Datacenters Datacenters
	Subscriber  skerry.Subscriber
	Streams     *Streams       // nil: of this front-end alone
	Readers     skerry.Readers // nil: they are not noted
	Drains      skerry.Drains
	Catalog     skerry.Catalog
	Settled     <-chan struct{} // reads of Catalog wait until it is closed; nil: they do not
	Registrar   skerry.Registrar
	Local       skerry.Local
	Leases      skerry.Leases
	External    skerry.External
	Keys        Keys
	Sessions    Sessions
	Snapshots   Snapshots
	Queries     Queries
	Settings    skerry.Settings
	Guard       Guard
	Admission   skerry.Admission // nil: processes of the cluster have no certificates
	Gate        skerry.Gate      // nil: access is not controlled
	ACL         ACL              // nil: likewise
	Primary     *Primary         // decides on policies, roles and tokens; nil: this datacenter does
	Tokens      AgentTokens      // of this agent; nil: access is not controlled
	Audit       skerry.AuditLog  // nil: no audit log
	Events      Events
	Coords      Coordinates
	Process     Process
	// Propagation describes how fast changes reach servers and agents.
	Propagation func() any
	Gatherer    prometheus.Gatherer
	Lot         skerry.Lot             // parks blocking queries; nil: they are not parked
	Roots       func() (RootCA, error) // the certificate authority that mesh clients wait for
}

// Primary is another datacenter that decides on policies, roles, and the tokens that are not local.
type Primary struct {
	Datacenter string
	Tokens     bool // this one has a copy of the tokens, and local tokens
	// State describes the copy that this datacenter has.
	State func() skerry.Replication
}

// Forwarder passes requests on to servers.
type Forwarder interface {
	// Forward lets a server answer. repeat: a written request may come to servers again, and they
	// make it once.
	Forward(w http.ResponseWriter, r *http.Request, repeat bool)
}

// Datacenters are the other datacenters.
type Datacenters interface {
	skerry.Datacenters
	// Forwarder lets the servers of another datacenter answer; nil while none of them is reached.
	Forwarder(name string) Forwarder
	// Coordinates returns those of the servers of all datacenters, this one among them, by the names of datacenters and servers.
	Coordinates() map[string]map[string]*coordinate.Coordinate
	// Forget drops a server of another datacenter, if it does not answer. known is false if there is none of these names.
	Forget(datacenter, server string) (known bool)
}

// Guard is the expiry guard's switch.
type Guard interface {
	Held() int
	// Release ends the holds of the owners for which among is true, and returns those that
	// are lost, ordered.
	Release(ctx context.Context, among func(skerry.OwnerID) bool) ([]skerry.OwnerID, error)
}

// Process is the running agent as a whole.
type Process interface {
	// Reload reads the configuration again.
	Reload() error
	// Leave stops the process gracefully.
	Leave()
	// Follow streams log lines of at least this level to w until ctx ends. It begins
	// with an empty write; no line after it is missed.
	Follow(ctx context.Context, level slog.Level, json bool, w io.Writer)
	// DebugConfig is the effective configuration without its secrets.
	DebugConfig() any
	// Host describes the machine, by the names of agent/host.
	Host() map[string]any
	// Stats are counters for agent/self, by section.
	Stats() map[string]map[string]string
}

// ACL has the interfaces that the endpoints below /v1/acl use.
type ACL interface {
	Tokens
	Policies
	Roles
	AuthMethods
	BindingRules
	Logins
	// WatchACL returns the index of the last change to records of a kind ("token",
	// "policy", "role", "method", "binding") and a channel that is closed at the next.
	WatchACL(kind string) (uint64, <-chan struct{})
	// ChangedACL returns the index of WatchACL.
	ChangedACL(kind string) uint64
	// Sound returns the error of a damaged record of a kind, or with an empty id that of
	// any; nil if none is damaged.
	Sound(kind, id string) error
}

// AgentTokens are the tokens that this agent uses itself.
type AgentTokens interface {
	Set(kind, secret string) error
}

// Logins makes tokens for callers that another system has authenticated.
type Logins interface {
	Bootstrap(ctx context.Context, secret string) (*skerry.Token, error)
	Login(ctx context.Context, method, bearer string, meta map[string]string) (*skerry.Token, error)
	Logout(ctx context.Context, secret string) error
}

// BindingRules are the binding rules of the store.
type BindingRules interface {
	Binding(id string) *skerry.BindingRule
	// Bindings returns the rules of one method, or all.
	Bindings(method string) ([]*skerry.BindingRule, uint64)
	PutBinding(ctx context.Context, b skerry.BindingRule) (*skerry.BindingRule, error)
	DeleteBinding(ctx context.Context, id string) error
}

// AuthMethods are the auth methods of the store.
type AuthMethods interface {
	Method(name string) *skerry.AuthMethod
	Methods() ([]*skerry.AuthMethod, uint64)
	PutMethod(ctx context.Context, m skerry.AuthMethod, create bool) (*skerry.AuthMethod, error)
	DeleteMethod(ctx context.Context, name string) error
}

// Policies are the policies of the store, and the built-in templates.
type Policies interface {
	Policy(id string) *skerry.Policy
	PolicyByName(name string) *skerry.Policy
	Policies() ([]*skerry.Policy, uint64)
	PutPolicy(ctx context.Context, p skerry.Policy) (*skerry.Policy, error)
	DeletePolicy(ctx context.Context, id string) error
	Templates() []skerry.Template
	// FillTemplate returns the policy of a template that is filled in.
	FillTemplate(t skerry.TemplatedPolicy) (*skerry.Policy, error)
}

// Roles are the roles of the store.
type Roles interface {
	Role(id string) *skerry.Role
	RoleByName(name string) *skerry.Role
	Roles() ([]*skerry.Role, uint64)
	PutRole(ctx context.Context, r skerry.Role) (*skerry.Role, error)
	DeleteRole(ctx context.Context, id string) error
}

// Tokens are the tokens of the store.
type Tokens interface {
	Token(accessor string) *skerry.Token
	TokenBySecret(secret string) *skerry.Token
	Tokens() ([]*skerry.Token, uint64)
	CreateToken(ctx context.Context, t skerry.Token, ttl time.Duration) (*skerry.Token, error)
	UpdateToken(ctx context.Context, t skerry.Token) (*skerry.Token, error)
	CloneToken(ctx context.Context, accessor, description string) (*skerry.Token, error)
	DeleteToken(ctx context.Context, accessor string) error
}

// Coordinates are the network coordinates of nodes, as agents measured them.
type Coordinates interface {
	Update(node string, c *coordinate.Coordinate)
	Get(node string) *coordinate.Coordinate
	// From returns the distances from a node to others in seconds, +Inf if one is not
	// known; nil if the node has no coordinate.
	From(node string) func(to string) float64
	// All returns them by folded node name, with the index of the last change.
	All() (map[string]*coordinate.Coordinate, uint64)
	Changed() (index uint64, changed <-chan struct{})
}

// Events keeps the latest user events of this node.
type Events interface {
	// Fire spreads an event. It fills in ID, Version and LTime.
	Fire(ctx context.Context, e skerry.Event) skerry.Event
	// List returns the kept events that reached this node and that hears accepts (nil:
	// all), oldest first, an index made from the last one's ID (0 without any), and a
	// channel that is closed at the next.
	List(name string, hears func(name string) bool) (events []skerry.Event, index uint64, changed <-chan struct{})
}

// Keys is the key/value store.
type Keys interface {
	// Sync waits until reads see all changes that were acknowledged before.
	Sync(ctx context.Context) error
	Get(key string) (*skerry.KeyValue, error)
	// List returns the entries below a prefix, and the index of the last change to any.
	// Only keys that sees accepts are looked at; nil accepts all.
	List(prefix string, sees func(key string) bool) ([]skerry.KeyValue, uint64, error)
	// Keys returns the keys below a prefix, cut after the first separator behind it.
	Keys(prefix, separator string, sees func(key string) bool) ([]string, uint64, error)
	Watch(key string, below bool) (uint64, <-chan struct{})
	// Unwatch cancels one watch of keys or of other records. The caller must not wait for
	// the channel any more.
	Unwatch(changed <-chan struct{})
	// Changed returns the index of Watch.
	Changed(key string, below bool) uint64
	// Newest is the index of Watch for a caller that sees only some of the keys below a
	// prefix. was is its last result, from when Watch's own index was at; both are 0 at first.
	Newest(prefix string, at, was uint64, sees func(key string) bool) uint64
	// Write reports whether the operation's condition held.
	Write(ctx context.Context, op skerry.KeyOp) (bool, error)
	// Txn does all operations, or none if some are refused. For reads, results that sees does
	// not accept do not exist; nil accepts all.
	Txn(ctx context.Context, ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) ([]skerry.TxnResult, []skerry.TxnError, error)
	// Read is Txn for operations that only read; index is the table's.
	Read(ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError, index uint64, err error)
}

// Queries are the prepared queries.
type Queries interface {
	CreateQuery(ctx context.Context, q skerry.PreparedQuery) (id string, err error)
	UpdateQuery(ctx context.Context, q skerry.PreparedQuery) error
	DeleteQuery(ctx context.Context, id string) error
	// Query returns a query and the index of its last change; nil if there is none.
	Query(id string) (*skerry.PreparedQuery, uint64, error)
	// Queries returns all, with the index of the last change to any.
	Queries() ([]*skerry.PreparedQuery, uint64, error)
	WatchQueries() (uint64, <-chan struct{})
	// ChangedQueries returns the index of WatchQueries.
	ChangedQueries() uint64
	// ResolveQuery and ExecuteQuery take an ID or a name; their error is of kind NotFound
	// if no query answers for it.
	ResolveQuery(nameOrID string) (*skerry.PreparedQuery, error)
	ExecuteQuery(nameOrID string, ask skerry.QueryAsk) (*skerry.QueryResult, error)
}

// Sessions are the sessions that hold locks.
type Sessions interface {
	CreateSession(ctx context.Context, s skerry.Session) (id string, err error)
	RenewSession(ctx context.Context, id string) (*skerry.Session, error)
	DestroySession(ctx context.Context, id string) error
	// Session returns a session; nil if there is none.
	Session(id string) (*skerry.Session, error)
	// Sessions returns all sessions, or those of one node.
	Sessions(node string) ([]*skerry.Session, error)
	// WatchSession watches one session, or all if id is empty.
	WatchSession(id string) (uint64, <-chan struct{})
	// ChangedSession returns the index of WatchSession.
	ChangedSession(id string) uint64
}

// Snapshots saves and restores the quorum store.
type Snapshots interface {
	// SaveSnapshot writes an archive and returns its index. With queryTokens it includes
	// the sealed tokens of prepared queries.
	SaveSnapshot(w io.Writer, queryTokens bool) (uint64, error)
	// RestoreSnapshot reads an archive whole before it changes anything.
	RestoreSnapshot(ctx context.Context, r io.Reader) error
}

// RootCA is a certificate authority's root, in PEM.
type RootCA struct {
	ID          string
	Name        string
	TrustDomain string
	Serial      uint64
	KeyID       string
	NotBefore   time.Time
	NotAfter    time.Time
	Certificate string
}
