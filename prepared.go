package skerry

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// PreparedQuery is a question about a service that is kept under a name, so that
// who asks it need not know what is in it. Its Stamp is the store's.
type PreparedQuery struct {
	Stamp   `json:"-"`
	ID      string `json:"id"`             // a UUID
	Name    string `json:"name,omitempty"` // unique, without regard to case; of a template: the prefix
	Session string `json:"session,omitempty"`
	// Token is the secret that the query is executed with in place of the asker's.
	// The store has it sealed.
	Token    string        `json:"token,omitempty"`
	Template QueryTemplate `json:"template,omitzero"`
	Service  ServiceQuery  `json:"service"`
	TTL      string        `json:"ttl,omitempty"` // of DNS answers, a duration; empty: the service's
}

// TemplatePrefix is the one type of template: it answers for every name that
// begins with the query's own and for which there is no longer one.
const TemplatePrefix = "name_prefix_match"

// QueryTemplate makes a query a template: ${name.full}, ${name.prefix},
// ${name.suffix} and ${match(N)} in the strings of its Service stand for parts of
// the name that it is asked by.
type QueryTemplate struct {
	Type            string `json:"type,omitempty"`   // empty: no template
	Regexp          string `json:"regexp,omitempty"` // what ${match(N)} are the groups of
	RemoveEmptyTags bool   `json:"remove_empty_tags,omitempty"`
}

// ServiceQuery says which instances a query is about. nil and empty lists are
// kept apart: they are shown as they were written.
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

// QueryFailover says which datacenters are asked while this one has no instance.
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

// What Near may say in place of a node's name.
const (
	NearAgent  = "_agent" // the node that was asked
	NearSource = "_ip"    // the node whose address the asker has
)

// QueryAsk is how a query is executed once. The zero value adds nothing to the
// definition.
type QueryAsk struct {
	Near    string     // a node's name, NearAgent or NearSource; before the definition's
	Agent   string     // the node that was asked
	Source  netip.Addr // where the asker is
	Limit   int        // the most instances; 0: all
	Connect bool       // only of the mesh
	// Knows says which nodes the asker may know of; nil: all. No distance is told
	// from others.
	Knows func(node string) bool
}

// QueryResult is a query's answer.
type QueryResult struct {
	Query *PreparedQuery // with a template's parts filled in
	View  *View          // what Entries were chosen from
	// Entries are the instances: nearest first when something is near, else
	// shuffled. Nearest tells which.
	Entries    []*Entry
	Nearest    bool
	Pipeline   Pipeline // what chose them
	Datacenter string   // where they are; empty: here
	Failovers  int      // datacenters that were asked besides
	TTL        time.Duration
	HasTTL     bool // the definition has a TTL
}

// SortNear returns list ordered by distance, the nearest first. What has no
// distance (+Inf) comes last; equals stay in their order. distance is asked once
// for each element; list itself is left as it is.
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
