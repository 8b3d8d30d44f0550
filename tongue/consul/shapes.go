package consul

import (
	"encoding/json"
	"time"

	"github.com/skerryhq/skerry"
)

// The shapes of Consul's JSON, in the order and with the omissions of its answers. Fields
// that cannot be filtered by say so; a peer's and a partition's name can, and are empty.

type jsonNode struct {
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

type jsonWeights struct {
	Passing int
	Warning int
}

type jsonEndpoint struct {
	Address string
	Port    int
}

type jsonPort struct {
	Name    string
	Port    int
	Default bool
}

type jsonLocality struct {
	Region string
	Zone   string
}

type jsonService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]jsonEndpoint `json:",omitempty"`
	Meta              map[string]string
	Port              int
	Ports             []jsonPort `json:",omitempty"`
	SocketPath        string     `json:",omitempty"`
	Weights           jsonWeights
	EnableTagOverride bool
	Proxy             json.RawMessage
	Connect           json.RawMessage
	PeerName          string
	Locality          *jsonLocality `json:",omitempty"`
	CreateIndex       uint64        `bexpr:"-"`
	ModifyIndex       uint64        `bexpr:"-"`
}

type jsonCheck struct {
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
	PeerName    string         `json:",omitempty"`
	Definition  jsonDefinition `bexpr:"-"`
	CreateIndex uint64         `bexpr:"-"`
	ModifyIndex uint64         `bexpr:"-"`
}

// jsonDefinition leaves out what is not set.
type jsonDefinition struct {
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

type jsonEntry struct {
	Node    jsonNode
	Service jsonService
	Checks  []jsonCheck
}

type jsonCatalogService struct {
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
	ServiceTaggedAddresses   map[string]jsonEndpoint `json:",omitempty"`
	ServiceWeights           jsonWeights
	ServiceMeta              map[string]string
	ServicePort              int
	ServicePorts             []jsonPort
	ServiceSocketPath        string
	ServiceEnableTagOverride bool
	ServiceProxy             json.RawMessage
	ServiceConnect           json.RawMessage
	ServiceLocality          *jsonLocality
	PeerName                 string `json:",omitempty"`
	CreateIndex              uint64 `bexpr:"-"`
	ModifyIndex              uint64 `bexpr:"-"`
}

// What a service without a proxy says of the mesh.
var (
	noProxy   = json.RawMessage(`{"Mode":"","MeshGateway":{},"Expose":{}}`)
	noConnect = json.RawMessage(`{}`)
)

func nodeJSON(n *skerry.Node) jsonNode {
	return jsonNode{
		ID: n.ID, Node: n.Name, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
		CreateIndex: n.Created, ModifyIndex: n.Modified,
	}
}

func endpointsJSON(m map[string]skerry.Endpoint) map[string]jsonEndpoint {
	if m == nil {
		return nil
	}
	out := make(map[string]jsonEndpoint, len(m))
	for k, v := range m {
		out[k] = jsonEndpoint(v)
	}
	return out
}

func portsJSON(ports []skerry.NamedPort) []jsonPort {
	var out []jsonPort
	for _, p := range ports {
		out = append(out, jsonPort(p))
	}
	return out
}

func localityJSON(l *skerry.Locality) *jsonLocality {
	if l == nil {
		return nil
	}
	return &jsonLocality{l.Region, l.Zone}
}

func tagsJSON(tags []string) []string {
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

func serviceJSON(i *skerry.Instance) jsonService {
	x := extra(i)
	return jsonService{
		Kind: x.Kind, ID: i.ID, Service: i.Service, Tags: tagsJSON(i.Tags), Address: i.Address,
		TaggedAddresses: endpointsJSON(i.Tagged()), Meta: i.Meta, Port: i.Port,
		Ports: portsJSON(x.Ports), SocketPath: x.SocketPath, Weights: jsonWeights(i.Weights),
		EnableTagOverride: i.EnableTagOverride, Proxy: x.Proxy, Connect: x.Connect,
		Locality: localityJSON(x.Locality), CreateIndex: i.Created, ModifyIndex: i.Modified,
	}
}

func checkJSON(node string, c *skerry.Check) jsonCheck {
	return jsonCheck{
		Node: node, CheckID: c.ID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: tagsJSON(c.ServiceTags),
		Type: c.Type, Interval: c.Interval, Timeout: c.Timeout, Definition: definitionJSON(c.Definition),
		CreateIndex: c.Created, ModifyIndex: c.Modified,
	}
}

func definitionJSON(d *skerry.CheckDefinition) jsonDefinition {
	if d == nil {
		return jsonDefinition{}
	}
	return jsonDefinition{
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

func entryJSON(e *skerry.Entry) jsonEntry {
	out := jsonEntry{Node: nodeJSON(e.Node), Service: serviceJSON(e.Instance), Checks: make([]jsonCheck, len(e.Checks))}
	for i, c := range e.Checks {
		out.Checks[i] = checkJSON(e.Node.Name, c)
	}
	return out
}

func catalogServiceJSON(n *skerry.Node, i *skerry.Instance) jsonCatalogService {
	x := extra(i)
	meta := i.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	return jsonCatalogService{
		ID: n.ID, Node: n.Name, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceKind: x.Kind, ServiceID: i.ID, ServiceName: i.Service, ServiceTags: tagsJSON(i.Tags),
		ServiceAddress: i.Address, ServiceTaggedAddresses: endpointsJSON(i.Tagged()),
		ServiceWeights: jsonWeights(i.Weights), ServiceMeta: meta, ServicePort: i.Port,
		ServicePorts: portsJSON(x.Ports), ServiceSocketPath: x.SocketPath,
		ServiceEnableTagOverride: i.EnableTagOverride, ServiceProxy: x.Proxy, ServiceConnect: x.Connect,
		ServiceLocality: localityJSON(x.Locality), CreateIndex: i.Created, ModifyIndex: i.Modified,
	}
}

// readMeta is what some answers say of themselves in their bodies.
type readMeta struct {
	Index                 uint64
	LastContact           int
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           bool
	Backend               int
	ResultsFilteredByACLs bool
}
