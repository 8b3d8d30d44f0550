package skerry

// Catalog is the reading side of the table of all owners' sets. Its answers are
// immutable: they may be kept and must not be written to.
//
// Indexes are this server's own change counter. They are never 0, never above
// 2^53, and grow over restarts too.
type Catalog interface {
	// Service returns the instances of a service. Names are compared as folded by
	// [Fold]. It never returns nil: a service without instances has an empty view
	// with the cause.
	Service(name string) *View
	// Node returns a node with its instances and checks, or nil. Names are
	// compared as folded by [Fold].
	Node(name string) *NodeView
	// Nodes returns all nodes, ordered by name as [CompareNames] does.
	Nodes() []*NodeView
	// Services returns the names of all services in every spelling that instances
	// have, in order of their bytes.
	Services() []string
	// Lookup returns the nodes and the instances with this IP address, in canonical
	// text form. An instance without an address of its own is not returned.
	Lookup(ip string) []Owned
	// Watch returns the index of the topic and a channel that is closed when the
	// topic changes after it. Changes within the coalescing window (a few
	// milliseconds) are one. A topic without a change has the index of the start.
	// A wake-up may be spurious: compare the index.
	Watch(t Topic) (index uint64, changed <-chan struct{})
	// Foreign reports whether an index was not issued by this run of this server.
	// A request with such an index is answered at once with the present state.
	Foreign(index uint64) bool
}

// TopicKind is a kind of topic that can be watched.
type TopicKind uint8

const (
	TopicService  TopicKind = iota // the instances, checks and nodes of one service
	TopicNode                      // one node with its instances and checks
	TopicNodes                     // the node records alone
	TopicServices                  // the list of service names and their tags in use
	TopicChecks                    // any check
	TopicAll                       // anything at all
)

// Topic is the part of the catalog that a watcher waits for.
type Topic struct {
	Kind TopicKind
	Name string // of the service or node, in any spelling
}

// Owned is the holder of an address: a node, or an instance on it.
type Owned struct {
	Node     *Node
	Instance *Instance // nil: the node itself
}

// NodeView is one node with its instances and checks.
type NodeView struct {
	Node      *Node
	Instances []*Instance // ordered by ID, as CompareNames does
	Checks    []*Check    // ordered by ID, as CompareNames does
	Index     uint64      // of the last change to any of it
}

// InstanceChecks returns the checks of one instance, without those of the node.
func (v *NodeView) InstanceChecks(id string) []*Check {
	var out []*Check
	for _, c := range v.Checks {
		if c.ServiceID == id {
			out = append(out, c)
		}
	}
	return out
}

// Cause is the reason why a view is empty or holds entries of silent owners.
type Cause string

const (
	CauseNone         Cause = ""             // not empty
	CauseUnknown      Cause = "unknown"      // never seen since the start
	CauseDeregistered Cause = "deregistered" // all were withdrawn by their owners
	CauseExpired      Cause = "expired"      // the last ones were lost: their owners fell silent
	CauseRecovering   Cause = "recovering"   // the server started just now; owners have yet to announce
	CauseGuarded      Cause = "guarded"      // owners fell silent all at once; they are served as they were
	CauseDraining     Cause = "draining"     // all instances are draining: they will be withdrawn
	CauseFiltered     Cause = "filtered"     // there are instances; the query's stages left out all of them
)
