package zookeeper

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/skerryhq/skerry/client"
)

// layout is how instances are written as nodes.
type layout interface {
	root() string // where services are unless the URL has a path
	// dir is the node whose children are the instances.
	dir(root, service string) string
	// data means that the data of a node describes the instance, not the node's name.
	data() bool
	instance(child string, data []byte) (client.Instance, error)
	// node writes an instance.
	node(i client.Instance) (child string, data []byte)
}

var layouts = map[string]layout{"curator": curator{}, "dubbo": dubbo{}}

// The metadata that registrations of ours carry.
const metaZone = "zone"

// curator is that of Curator's service discovery.
type curator struct{}

// registered is Curator's ServiceInstance.
type registered struct {
	Name        string `json:"name"`
	ID          string `json:"id"`
	Address     string `json:"address"`
	Port        *int   `json:"port"`
	SSLPort     *int   `json:"sslPort"`
	Payload     any    `json:"payload"`
	Registered  int64  `json:"registrationTimeUTC"` // in ms
	ServiceType string `json:"serviceType"`
	URISpec     any    `json:"uriSpec"`
	Enabled     *bool  `json:"enabled,omitempty"` // since Curator 4
}

func (curator) root() string                    { return "/services" }
func (curator) dir(root, service string) string { return path.Join(root, service) }
func (curator) data() bool                      { return true }

func (curator) instance(child string, data []byte) (client.Instance, error) {
	var r registered
	if err := json.Unmarshal(data, &r); err != nil {
		return client.Instance{}, err
	}
	port := r.Port
	if port == nil || *port <= 0 {
		port = r.SSLPort
	}
	if r.Address == "" || port == nil || *port <= 0 || *port > 65535 {
		return client.Instance{}, fmt.Errorf("there is no address and port in %.200q", data)
	}
	i := client.Instance{ID: child, Address: net.JoinHostPort(r.Address, strconv.Itoa(*port)), Draining: r.Enabled != nil && !*r.Enabled}
	if r.Registered > 0 {
		i.Started = time.UnixMilli(r.Registered).UTC()
	}
	// Spring Cloud's payload has the metadata within.
	payload, _ := r.Payload.(map[string]any)
	if metadata, ok := payload["metadata"].(map[string]any); ok {
		payload = metadata
	}
	for key, value := range payload {
		if text, ok := value.(string); ok {
			set(&i, key, text)
		}
	}
	return i, nil
}

// set takes an entry of the metadata in.
func set(i *client.Instance, key, value string) {
	if key == metaZone {
		i.Zone = value
	}
	if i.Meta == nil {
		i.Meta = map[string]string{}
	}
	i.Meta[key] = value
}

func (curator) node(i client.Instance) (child string, data []byte) {
	host, port := split(i.Address)
	yes := true
	r := registered{Name: i.Service, ID: i.ID, Address: host, Port: &port, Payload: metadata(i), ServiceType: "DYNAMIC", Enabled: &yes}
	if !i.Started.IsZero() {
		r.Registered = i.Started.UnixMilli()
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return url.PathEscape(i.ID), data
}

func metadata(i client.Instance) map[string]string {
	out := make(map[string]string, len(i.Meta)+1)
	for key, value := range i.Meta {
		out[key] = value
	}
	if i.Zone != "" {
		out[metaZone] = i.Zone
	}
	return out
}

func split(address string) (host string, port int) {
	host, text, _ := net.SplitHostPort(address)
	port, _ = strconv.Atoi(text)
	return host, port
}

// dubbo is that of Dubbo's providers: URLs, escaped, as names.
type dubbo struct{}

// metaProtocol is how a provider is spoken to: dubbo, tri, rest.
const metaProtocol = "protocol"

func (dubbo) root() string                    { return "/dubbo" }
func (dubbo) dir(root, service string) string { return path.Join(root, service, "providers") }
func (dubbo) data() bool                      { return false }

func (dubbo) instance(child string, _ []byte) (client.Instance, error) {
	text, err := url.QueryUnescape(child) // Java's URLEncoder writes a blank as +
	if err != nil {
		return client.Instance{}, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return client.Instance{}, err
	}
	if u.Hostname() == "" || u.Port() == "" {
		return client.Instance{}, fmt.Errorf("there is no address and port in %.200q", text)
	}
	i := client.Instance{ID: u.Host, Address: net.JoinHostPort(u.Hostname(), u.Port())}
	for key, values := range u.Query() {
		set(&i, key, values[0])
	}
	set(&i, metaProtocol, u.Scheme)
	i.Weight, _ = strconv.Atoi(i.Meta["weight"])
	i.Weight = min(max(i.Weight, 0), maxWeight)
	if ms, err := strconv.ParseInt(i.Meta["timestamp"], 10, 64); err == nil && ms > 0 {
		i.Started = time.UnixMilli(ms).UTC()
	}
	i.Draining = i.Meta["disabled"] == "true" || i.Meta["enabled"] == "false"
	return i, nil
}

const maxWeight = 1 << 16

func (dubbo) node(i client.Instance) (child string, data []byte) {
	query := url.Values{"interface": {i.Service}, "side": {"provider"}, "category": {"providers"}}
	for key, value := range metadata(i) {
		if key != metaProtocol {
			query.Set(key, value)
		}
	}
	if i.Weight > 0 {
		query.Set("weight", strconv.Itoa(i.Weight))
	}
	if !i.Started.IsZero() {
		query.Set("timestamp", strconv.FormatInt(i.Started.UnixMilli(), 10))
	}
	scheme := i.Meta[metaProtocol]
	if scheme == "" {
		scheme = "dubbo"
	}
	u := url.URL{Scheme: scheme, Host: i.Address, Path: "/" + i.Service, RawQuery: query.Encode()}
	return url.QueryEscape(u.String()), nil
}
