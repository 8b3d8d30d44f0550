// Package wire is the JSON of Consul's HTTP API: bodies of requests with their bounds and
// checks, shapes of answers, and errors with their statuses. It does no I/O.
package wire

import (
	"encoding/json"
	"time"

	"github.com/skerryhq/skerry"
)

// The shapes have the order and the omissions of Consul's answers. bexpr:"-" marks fields
// that a filter cannot name; the names of a peer and a partition are always empty.

// Node is a node.
type Node struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	PeerName        string `json:",omitempty"`
	Partition       string `json:",omitempty"`
	CreateIndex     uint64 `bexpr:"-"`
	ModifyIndex     uint64 `bexpr:"-"`
}

// Weights is the weights of an instance.
type Weights struct {
	Passing int
	Warning int
}

// Endpoint is a tagged address of an instance.
type Endpoint struct {
	Address string
	Port    int
}

// Port is a named port of an instance.
type Port struct {
	Name    string
	Port    int
	Default bool
}

// Locality is a region and a zone.
type Locality struct {
	Region string
	Zone   string
}

// Service is an instance.
type Service struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]Endpoint `json:",omitempty"`
	Meta              map[string]string
	Port              int
	Ports             []Port `json:",omitempty"`
	SocketPath        string `json:",omitempty"`
	Weights           Weights
	EnableTagOverride bool
	Proxy             json.RawMessage
	Connect           json.RawMessage
	PeerName          string
	Locality          *Locality `json:",omitempty"`
	CreateIndex       uint64    `bexpr:"-"`
	ModifyIndex       uint64    `bexpr:"-"`
}

// Check is a check.
type Check struct {
	Node        string
	CheckID     string
	Name        string
	Status      skerry.Health
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	PeerName    string     `json:",omitempty"`
	Definition  Definition `bexpr:"-"`
	CreateIndex uint64     `bexpr:"-"`
	ModifyIndex uint64     `bexpr:"-"`
}

// Definition is the definition of a check's probe. It leaves out unset fields.
type Definition struct {
	HTTP                           string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	OSService                      string              `json:",omitempty"`
	AliasNode                      string              `json:",omitempty"`
	AliasService                   string              `json:",omitempty"`
	Interval                       string              `json:",omitempty"`
	Timeout                        string              `json:",omitempty"`
	DeregisterCriticalServiceAfter string              `json:",omitempty"`
}

// Entry is an instance with its node and checks.
type Entry struct {
	Node    Node
	Service Service
	Checks  []Check
}

// CatalogService is an instance in the form of catalog/service.
type CatalogService struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string
	ServiceTaggedAddresses   map[string]Endpoint `json:",omitempty"`
	ServiceWeights           Weights
	ServiceMeta              map[string]string
	ServicePort              int
	ServicePorts             []Port
	ServiceSocketPath        string
	ServiceEnableTagOverride bool
	ServiceProxy             json.RawMessage
	ServiceConnect           json.RawMessage
	ServiceLocality          *Locality
	PeerName                 string `json:",omitempty"`
	CreateIndex              uint64 `bexpr:"-"`
	ModifyIndex              uint64 `bexpr:"-"`
}

// The fields of the mesh of a service without a proxy.
var (
	noProxy   = json.RawMessage(`{"Mode":"","MeshGateway":{},"Expose":{}}`)
	noConnect = json.RawMessage(`{}`)
)

// NodeOf returns the shape of a node.
func NodeOf(n *skerry.Node) Node {
	return Node{
		ID: n.ID, Node: n.Name, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
		CreateIndex: n.Created, ModifyIndex: n.Modified,
	}
}

// EndpointsOf returns the shape of tagged addresses.
func EndpointsOf(m map[string]skerry.Endpoint) map[string]Endpoint {
	if m == nil {
		return nil
	}
	out := make(map[string]Endpoint, len(m))
	for k, v := range m {
		out[k] = Endpoint(v)
	}
	return out
}

// PortsOf returns the shape of named ports.
func PortsOf(ports []skerry.NamedPort) []Port {
	var out []Port
	for _, p := range ports {
		out = append(out, Port(p))
	}
	return out
}

// LocalityOf returns the shape of a locality; nil for nil.
func LocalityOf(l *skerry.Locality) *Locality {
	if l == nil {
		return nil
	}
	return &Locality{l.Region, l.Zone}
}

// TagsOf returns the tags as a list that is not nil.
func TagsOf(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

// extra returns the instance's rare fields, with the mesh's defaults.
func extra(i *skerry.Instance) skerry.Extra {
	var x skerry.Extra
	if i.Extra != nil {
		x = *i.Extra
	}
	if x.Proxy == nil {
		x.Proxy = noProxy
	}
	if x.Connect == nil {
		x.Connect = noConnect
	}
	return x
}

// ServiceOf returns the shape of an instance.
func ServiceOf(i *skerry.Instance) Service {
	x := extra(i)
	return Service{
		Kind: x.Kind, ID: i.ID, Service: i.Service, Tags: TagsOf(i.Tags), Address: i.Address,
		TaggedAddresses: EndpointsOf(i.Tagged()), Meta: i.Meta, Port: i.Port,
		Ports: PortsOf(x.Ports), SocketPath: x.SocketPath, Weights: Weights(i.Weights),
		EnableTagOverride: i.EnableTagOverride, Proxy: x.Proxy, Connect: x.Connect,
		Locality: LocalityOf(x.Locality), CreateIndex: i.Created, ModifyIndex: i.Modified,
	}
}

// CheckOf returns the shape of a check on a node.
func CheckOf(node string, c *skerry.Check) Check {
	return Check{
		Node: node, CheckID: c.ID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: TagsOf(c.ServiceTags),
		Type: c.Type, Interval: c.Interval, Timeout: c.Timeout, Definition: definitionJSON(c.Definition),
		CreateIndex: c.Created, ModifyIndex: c.Modified,
	}
}

func definitionJSON(d *skerry.CheckDefinition) Definition {
	if d == nil {
		return Definition{}
	}
	return Definition{
		HTTP: d.HTTP, TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify, Header: d.Header,
		Method: d.Method, Body: d.Body, DisableRedirects: d.DisableRedirects, TCP: d.TCP, TCPUseTLS: d.TCPUseTLS,
		UDP: d.UDP, GRPC: d.GRPC, GRPCUseTLS: d.GRPCUseTLS, OSService: d.OSService,
		AliasNode: d.AliasNode, AliasService: d.AliasService, Interval: spell(d.Interval),
		Timeout: spell(d.Timeout), DeregisterCriticalServiceAfter: spell(d.DeregisterCriticalServiceAfter),
	}
}

func spell(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// EntryOf returns the shape of an entry.
func EntryOf(e *skerry.Entry) Entry {
	out := Entry{Node: NodeOf(e.Node), Service: ServiceOf(e.Instance), Checks: make([]Check, len(e.Checks))}
	for i, c := range e.Checks {
		out.Checks[i] = CheckOf(e.Node.Name, c)
	}
	return out
}

// CatalogServiceOf returns the shape of an instance on a node in catalog/service.
func CatalogServiceOf(n *skerry.Node, i *skerry.Instance) CatalogService {
	x := extra(i)
	meta := i.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	return CatalogService{
		ID: n.ID, Node: n.Name, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceKind: x.Kind, ServiceID: i.ID, ServiceName: i.Service, ServiceTags: TagsOf(i.Tags),
		ServiceAddress: i.Address, ServiceTaggedAddresses: EndpointsOf(i.Tagged()),
		ServiceWeights: Weights(i.Weights), ServiceMeta: meta, ServicePort: i.Port,
		ServicePorts: PortsOf(x.Ports), ServiceSocketPath: x.SocketPath,
		ServiceEnableTagOverride: i.EnableTagOverride, ServiceProxy: x.Proxy, ServiceConnect: x.Connect,
		ServiceLocality: LocalityOf(x.Locality), CreateIndex: i.Created, ModifyIndex: i.Modified,
	}
}

// ReadMeta describes an answer within its body.
type ReadMeta struct {
	Index                 uint64
	LastContact           int
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           bool
	Backend               int
	ResultsFilteredByACLs bool
}
