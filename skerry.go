// Package skerry defines the types of the registry (service instance, check, node,
// owner) and the interfaces between the parts of Skerry. It imports only the
// standard library, and all other packages import it.
//
// An [Owner] announces one [Set] (a [Node], its [Instance]s and its [Check]s). The
// [Catalog] holds every owner's set and answers with immutable views: the
// instances of a service ([View]), or of a node ([NodeView]). A protocol front-end
// (a "tongue") only translates between these types and its own.
package skerry

import (
	"maps"
	"net/netip"
	"time"
)

// Health is the state of a check, and of an instance as the worst of its checks.
type Health string

// The states that every front-end knows. A check that an external program writes
// through the catalog may have another state, which counts as neither passing nor
// critical.
const (
	Passing  Health = "passing"
	Warning  Health = "warning"
	Critical Health = "critical"
)

// Valid reports whether h is one of the three states.
func (h Health) Valid() bool { return h == Passing || h == Warning || h == Critical }

func (h Health) rank() int {
	switch h {
	case Passing:
		return 0
	case Critical:
		return 2
	}
	return 1
}

// Worse returns the worse of h and other.
func (h Health) Worse(other Health) Health {
	if other.rank() > h.rank() {
		return other
	}
	return h
}

// Stamp holds the indexes at which the catalog of this server first saw a record
// and last saw it change, in its own change counter (see [Catalog]). The catalog
// sets it; announced records have none. External records are the exception: theirs
// are the indexes of the quorum store, the same on all servers, so that a
// transaction can compare them.
type Stamp struct {
	Created  uint64 `json:"-"`
	Modified uint64 `json:"-"`
}

// Node is a host or, for external services, a stand-in for one. Its name is unique
// within a datacenter.
type Node struct {
	Stamp
	Name            string            `json:"name"`
	ID              string            `json:"id,omitempty"` // a UUID; empty for most external nodes
	Datacenter      string            `json:"datacenter,omitempty"`
	Address         string            `json:"address"`
	TaggedAddresses map[string]string `json:"tagged_addresses,omitempty"` // "lan", "wan", "lan_ipv4", … → address
	Meta            map[string]string `json:"meta,omitempty"`
	Locality        *Locality         `json:"locality,omitempty"`
}

// Locality is the place of a node or an instance.
type Locality struct {
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
}

// Endpoint is an address with a port, as in the tagged addresses of an instance.
type Endpoint struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// NamedPort is one of several ports of an instance.
type NamedPort struct {
	Name    string `json:"name"`
	Port    int    `json:"port"`
	Default bool   `json:"default,omitempty"`
}

// Weights are an instance's shares of the traffic while it is passing and while it
// is warning. The default is 1 and 1.
type Weights struct {
	Passing int `json:"passing"`
	Warning int `json:"warning"`
}

// Instance is one running copy of a service. Its ID is unique on its node.
// An instance is immutable once it was announced.
type Instance struct {
	Stamp
	ID                string              `json:"id"`
	Service           string              `json:"service"`
	Tags              []string            `json:"tags,omitempty"`
	Address           string              `json:"address,omitempty"` // empty: the node's
	Port              int                 `json:"port,omitempty"`
	Weights           Weights             `json:"weights"`
	Meta              map[string]string   `json:"meta,omitempty"`
	TaggedAddresses   map[string]Endpoint `json:"tagged_addresses,omitempty"`
	EnableTagOverride bool                `json:"enable_tag_override,omitempty"`
	// Draining: it takes no new requests and will be withdrawn. Views list it apart, in [View.Draining].
	Draining bool `json:"draining,omitempty"`
	// TagAddress makes Tagged add the instance's own address, as an agent does.
	TagAddress bool   `json:"tag_address,omitempty"`
	Extra      *Extra `json:"extra,omitempty"`
}

// Tagged returns TaggedAddresses and, with TagAddress, the instance's own IP as
// "lan_ipv4" and "wan_ipv4" (or "…_ipv6") unless these tags are set. It is computed
// on demand: as a map it would be the largest part of most instances. The map must
// not be written to.
func (i *Instance) Tagged() map[string]Endpoint {
	ip, err := netip.ParseAddr(i.Address)
	if !i.TagAddress || err != nil {
		return i.TaggedAddresses
	}
	suffix := "_ipv6"
	if ip.Is4() {
		suffix = "_ipv4"
	}
	out := make(map[string]Endpoint, len(i.TaggedAddresses)+2)
	out["lan"+suffix] = Endpoint{i.Address, i.Port}
	out["wan"+suffix] = Endpoint{i.Address, i.Port}
	maps.Copy(out, i.TaggedAddresses)
	return out
}

// Extra holds the fields that few instances have, so that the others stay small.
type Extra struct {
	Ports      []NamedPort `json:"ports,omitempty"`
	SocketPath string      `json:"socket_path,omitempty"`
	Locality   *Locality   `json:"locality,omitempty"`
	// Kind, Proxy and Connect belong to Consul's service mesh. Skerry keeps
	// them as JSON, gives them back, and attaches no meaning to them.
	Kind    string `json:"kind,omitempty"`
	Proxy   []byte `json:"proxy,omitempty"`
	Connect []byte `json:"connect,omitempty"`
}

// Check is the state of one health check: of an instance if ServiceID is set, else
// of the whole node. A check is immutable once it was announced.
type Check struct {
	Stamp
	ID     string `json:"id"` // unique on its node
	Name   string `json:"name"`
	Status Health `json:"status"`
	Notes  string `json:"notes,omitempty"`  // for people
	Output string `json:"output,omitempty"` // of the last run; its change wakes no watcher
	// Since is the time of the last change of Status, by the clock of the process that
	// runs the check; zero when that is not known.
	Since       time.Time `json:"since,omitzero"`
	ServiceID   string    `json:"service_id,omitempty"`
	ServiceName string    `json:"service_name,omitempty"`
	ServiceTags []string  `json:"service_tags,omitempty"`
	Type        string    `json:"type,omitempty"` // "http", "ttl", …; empty when its writer did not set it
	// Interval and Timeout are as their owner wrote them, for display.
	Interval string `json:"interval,omitempty"`
	Timeout  string `json:"timeout,omitempty"`
	// Definition is set for checks that an external program runs (Consul ESM).
	Definition *CheckDefinition `json:"definition,omitempty"`
}

// The check IDs and the type of maintenance mode, as Consul names them.
const (
	NodeMaintenanceID          = "_node_maintenance"
	ServiceMaintenanceIDPrefix = "_service_maintenance:"
	TypeMaintenance            = "maintenance"
)

// Maintenance reports whether c marks maintenance mode and is not a probe.
func (c *Check) Maintenance() bool { return c.Type == TypeMaintenance }
