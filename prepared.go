package skerry

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// PreparedQuery is a query for a service that is kept under a name, so that clients
// need not know its definition. Its Stamp is the store's.
type PreparedQuery struct {
	Stamp   `json:"-"`
	ID      string `json:"id"`             // a UUID
	Name    string `json:"name,omitempty"` // unique, without regard to case; of a template: the prefix
	Session string `json:"session,omitempty"`
	// Token is the secret that the query is executed with in place of the caller's.
	// It is encrypted in the store.
	Token    string        `json:"token,omitempty"`
	Template QueryTemplate `json:"template,omitzero"`
	Service  ServiceQuery  `json:"service"`
	TTL      string        `json:"ttl,omitempty"` // of DNS answers, a duration; empty: the service's
}

// TemplatePrefix is the only type of template. It answers for every name that
// begins with the query's own and that no longer template matches.
const TemplatePrefix = "name_prefix_match"

// QueryTemplate makes a query a template: ${name.full}, ${name.prefix},
// ${name.suffix} and ${match(N)} in the strings of its Service are replaced by
// parts of the requested name.
type QueryTemplate struct {
	Type            string `json:"type,omitempty"`   // empty: no template
	Regexp          string `json:"regexp,omitempty"` // its groups are ${match(N)}
	RemoveEmptyTags bool   `json:"remove_empty_tags,omitempty"`
}

// ServiceQuery selects the instances of a query. It distinguishes nil and empty
// lists, to show them as they were written.
type ServiceQuery struct {
	Service        string            `json:"service"`
	Peer           string            `json:"peer,omitempty"`
	Near           string            `json:"near,omitempty"` // as in [QueryAsk]
	Failover       QueryFailover     `json:"failover,omitzero"`
	IgnoreCheckIDs []string          `json:"ignore_check_ids"` // checks that do not count
	OnlyPassing    bool              `json:"only_passing,omitempty"`
	Tags           []string          `json:"tags"` // "!x": an instance must not have x
	NodeMeta       map[string]string `json:"node_meta"`
	ServiceMeta    map[string]string `json:"service_meta"`
	Connect        bool              `json:"connect,omitempty"` // only of the mesh: none
}

// QueryFailover lists the datacenters to ask while this one has no instance.
type QueryFailover struct {
	NearestN    int              `json:"nearest_n,omitempty"` // so many nearest ones first
	Datacenters []string         `json:"datacenters"`         // then these, in order
	Targets     []FailoverTarget `json:"targets"`             // in place of both
}

// FailoverTarget is a datacenter or a peer.
type FailoverTarget struct {
	Peer       string `json:"peer,omitempty"`
	Datacenter string `json:"datacenter,omitempty"`
}

// Values of Near in place of a node's name.
const (
	NearAgent  = "_agent" // the node that was asked
	NearSource = "_ip"    // the node with the caller's address
)

// QueryAsk is the options of one execution of a query. The zero value adds nothing
// to the definition.
type QueryAsk struct {
	Near    string     // a node's name, NearAgent or NearSource; before the definition's
	Agent   string     // the node that was asked
	Source  netip.Addr // of the caller
	Limit   int        // the most instances; 0: all
	Connect bool       // only of the mesh
	// Knows reports whether the caller may see a node; nil: all. Distances from other
	// nodes are not used.
	Knows func(node string) bool
}

// QueryResult is a query's answer.
type QueryResult struct {
	Query *PreparedQuery // with a template's parts filled in
	View  *View          // the view that Entries were chosen from
	// Entries are the instances, in order of distance if Nearest is set, else
	// shuffled.
	Entries    []*Entry
	Nearest    bool
	Pipeline   Pipeline // the stages that chose them
	Datacenter string   // of the entries; empty: this one
	Failovers  int      // other datacenters that were asked
	TTL        time.Duration
	HasTTL     bool // the definition has a TTL
}

// SortNear returns list ordered by distance, the nearest first. Elements without a
// distance (+Inf) come last; equals stay in their order. distance is called once
// for each element; list itself is not changed.
func SortNear[T any](list []T, distance func(T) float64) []T {
	type placed struct {
		v  T
		at float64
	}
	all := make([]placed, len(list))
	for i, v := range list {
		all[i] = placed{v, distance(v)}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	out := make([]T, len(all))
	for i, p := range all {
		out[i] = p.v
	}
	return out
}
