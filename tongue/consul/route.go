package consul

import "github.com/skerryhq/skerry"

// route is one endpoint. If its path ends in a slash, the rest of the request's path is
// its argument.
type route struct {
	path    string
	methods []string
	do      func(*request) error
	// plain endpoints have no header on consistency.
	plain bool
	// lean endpoints leave out a header that clients do not use: the other eight fit into
	// the smallest map, which matters for the busiest endpoint.
	lean bool
	// metaOnError endpoints send their index headers with an error too.
	metaOnError bool
	largeBody   bool // takes a body of any size
	lists       bool // takes a body with a list of many objects
	legacyGet   bool // answers GET too where the old API is allowed
	anyMethod   bool // the endpoint checks the method itself
	exactly     bool // with other methods the path is unknown
	names       bool // its body may name the datacenter
	single      bool // an agent sends it once: it changes more than the store, and a second time would be another change
	moves       bool // a request that is no GET may change services, other than those of this agent
	kind        kind

	at place // where it is answered
	// decided reports whether the primary datacenter answers a request, where that is another one; nil: none.
	decided func(*request) bool
	need    need // the permission for the endpoint as a whole; endpoints check more by the request's names
	open    bool // it ignores the token
	// discovery endpoints answer from the catalog: parked requests share answers, and the
	// configuration may allow stale ones.
	discovery bool
}

// place is where an endpoint is answered.
type place string

const (
	byAgent      place = ""           // by the agent that is asked, about itself
	byServer     place = "server"     // by any server
	byDatacenter place = "datacenter" // by the servers of the datacenter in ?dc=
	// byFollower is byDatacenter, and by an agent that follows the service.
	byFollower place = "follower"
)

// kind is the degree of support of an endpoint; doc/coverage.md is made from it.
type kind string

const (
	served kind = ""       // as Consul documents it
	polite kind = "polite" // answered although there is no mesh and no gossip
	own    kind = "own"    // Skerry's
	gone   kind = "gone"   // removed from Consul: an error
)

// need is a permission that is checked before the endpoint runs.
type need struct {
	resource skerry.Resource // "": none
	get      skerry.Access
	other    skerry.Access         // of methods that are not GET
	name     func(*request) string // nil: the resource has no names
}
