package skerry

// Catalog is the reading side of the table of all owners' sets. Its answers are
// immutable and may be kept; nothing of them may be written to.
//
// Indexes are this server's own change counter. They are never 0, never above
// 2^53, and grow over restarts too.
type Catalog interface {
	// Service returns the instances of a service, however its name is spelled: names
	// are compared as [Fold] makes them. It never returns nil: a service without
	// instances has an empty view that says why it is empty.
	Service(name string) *View
	// Node returns a node with its instances and checks, or nil. Names are
	// compared as [Fold] makes them.
	Node(name string) *NodeView
	// Nodes returns all nodes, ordered by name as [CompareNames] does.
	Nodes() []*NodeView
	// Services returns the names of all services in every spelling that instances
	// have, in order of their bytes.
	Services() []string
	// Lookup returns what has this IP address, in canonical text form: nodes by
	// their address, instances by their own.
	Lookup(ip string) []Owned
	// Watch returns the index of the topic and a channel that is closed when the
	// topic changes after it. Changes within the coalescing window (a few
	// milliseconds) are one. A topic with no change yet has the start's index.
	// A wake-up may be spurious: compare the index.
	Watch(t Topic) (index uint64, changed <-chan struct{})
	// Foreign reports whether an index was not issued by this run of this server;
	// who comes with one is answered at once with the present state.
	Foreign(index uint64) bool
}

// TopicKind is a kind of thing that can be watched.
type TopicKind uint8

const (
	TopicService  TopicKind = iota // the instances, checks and nodes of one service
	TopicNode                      // one node with its instances and checks
	TopicNodes                     // the node records alone
	TopicServices                  // the list of service names and their tags in use
	TopicChecks                    // any check
	TopicAll                       // anything at all
)

// Topic names what a watcher waits for.
type Topic struct {
	Kind TopicKind
	Name string // of the service or node, in any spelling
}

// Owned is an address's holder: a node, or an instance on it.
type Owned struct {
	Node     *Node
	Instance *Instance // nil: the node itself
}

// NodeView is one node with all that is on it.
type NodeView struct {
	Node      *Node
	Instances []*Instance // ordered by ID, as CompareNames does
	Checks    []*Check    // ordered by ID, as CompareNames does
	Index     uint64      // of the last change to any of it
}

// InstanceChecks returns the checks of one instance, the node's apart.
func (v *NodeView) InstanceChecks(id string) []*Check {
	var out []*Check
	for _, c := range v.Checks {
		if c.ServiceID == id {
			out = append(out, c)
		}
	}
	return out
}

// Cause says why a view is empty or holds what it would otherwise not hold.
type Cause string

const (
	CauseNone         Cause = ""
	CauseUnknown      Cause = "unknown"      // never seen since the start
	CauseDeregistered Cause = "deregistered" // all were withdrawn by their owners
	CauseExpired      Cause = "expired"      // the last ones were lost: their owners fell silent
	CauseRecovering   Cause = "recovering"   // the server started just now; owners have yet to announce
	CauseGuarded      Cause = "guarded"      // owners fell silent all at once; they are served as they were
	CauseFiltered     Cause = "filtered"     // there are instances; the query's stages left out all of them
)
