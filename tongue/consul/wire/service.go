package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"unique"

	"github.com/skerryhq/skerry"
)

// ServiceBody is a service in a request to the agent.
type ServiceBody struct {
	Kind              string
	ID                string
	Name              string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]Endpoint
	Meta              map[string]string
	Port              int
	Ports             []Port
	SocketPath        string
	Check             *ServiceCheckBody
	Checks            []*ServiceCheckBody
	Weights           *Weights
	Token             Ignored
	EnableTagOverride bool
	Locality          *Locality
	Proxy             ProxyBody
	Connect           json.RawMessage

	TaggedAddressesSnake   map[string]Endpoint `json:"tagged_addresses"`
	EnableTagOverrideSnake bool                `json:"enable_tag_override"`
}

// Registration returns the service with its checks, or the error that Consul gives for
// it. legacy allows Script.
func (s *ServiceBody) Registration(legacy bool) (skerry.Registration, error) {
	var r skerry.Registration
	if s.Name == "" {
		return r, BadRequest("Missing service name")
	}
	if s.Address == "0.0.0.0" || s.Address == "::" || s.Address == "[::]" {
		return r, BadRequest("Invalid service address")
	}
	if fault := MetaFault(s.Meta); fault != "" {
		return r, BadRequest("Invalid Service Meta: " + fault)
	}
	w := Weights{1, 1}
	if s.Weights != nil {
		w = *s.Weights
		if w.Passing < 1 {
			return r, BadRequest("Invalid Weights: Passing must be greater than 0")
		}
		if w.Warning < 0 {
			return r, BadRequest("Invalid Weights: Warning must be greater or equal than 0")
		}
		if w.Passing > 65535 || w.Warning > 65535 {
			return r, BadRequest("Invalid Weights: DNS Weight must be between 0 and 65535")
		}
	}
	if s.Port != 0 && len(s.Ports) > 0 {
		return r, BadRequest("Invalid service definition: cannot set both port and ports")
	}
	// The decoder allocates room for more tags, but most instances keep only one.
	tags := s.Tags
	if tags != nil {
		tags = append(make([]string, 0, len(tags)), tags...)
		for n, tag := range tags {
			tags[n] = unique.Make(tag).Value() // few tags, on many instances
		}
	}
	id := s.ID
	if id == "" || id == s.Name {
		id = s.Name // the same bytes, not a copy
	}
	i := &skerry.Instance{
		ID: id, Service: s.Name, Tags: tags, Address: unique.Make(s.Address).Value(), Port: s.Port,
		Weights: skerry.Weights(w), Meta: s.Meta, EnableTagOverride: s.EnableTagOverride || s.EnableTagOverrideSnake,
	}
	tagged := s.TaggedAddresses
	if tagged == nil {
		tagged = s.TaggedAddressesSnake
	}
	if len(tagged) > 0 {
		i.TaggedAddresses = make(map[string]skerry.Endpoint, len(tagged))
		for k, v := range tagged {
			i.TaggedAddresses[k] = skerry.Endpoint(v)
		}
	}
	i.Extra = InstanceExtra(s.Kind, s.SocketPath, s.Ports, s.Locality, s.Proxy.Raw, s.Connect)
	r.Instance = i
	bodies := s.Checks
	if s.Check != nil && !s.Check.empty() {
		bodies = append([]*ServiceCheckBody{s.Check}, bodies...)
	}
	for _, c := range bodies {
		if c == nil {
			continue
		}
		if c.Status != "" && !skerry.Health(c.Status).Valid() {
			return r, BadRequest("Status for checks must 'passing', 'warning', 'critical'")
		}
		d, err := c.Definition(legacy)
		if err != nil {
			return r, err
		}
		r.Checks = append(r.Checks, d)
	}
	return r, nil
}

// InstanceExtra returns the rare fields of an instance; nil if it has none of them.
func InstanceExtra(kind, socket string, ports []Port, l *Locality, proxy, connect json.RawMessage) *skerry.Extra {
	x := &skerry.Extra{Kind: kind, SocketPath: socket, Proxy: meaningful(proxy), Connect: meaningful(connect)}
	for _, p := range ports {
		x.Ports = append(x.Ports, skerry.NamedPort(p))
	}
	if l != nil {
		x.Locality = &skerry.Locality{Region: l.Region, Zone: l.Zone}
	}
	if x.Kind == "" && x.SocketPath == "" && x.Ports == nil && x.Locality == nil && x.Proxy == nil && x.Connect == nil {
		return nil
	}
	return x
}

// meaningful returns JSON without spaces; nil if it has no content.
func meaningful(raw json.RawMessage) []byte {
	var out bytes.Buffer
	if len(raw) == 0 || json.Compact(&out, raw) != nil {
		return nil
	}
	switch out.String() {
	case "null", "{}", string(noProxy):
		return nil
	}
	return out.Bytes()
}

const (
	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
)

var metaKey = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// MetaFault returns the error of invalid metadata in Consul's words; "" if it is valid.
func MetaFault(meta map[string]string) string {
	if len(meta) > maxMetaPairs {
		return fmt.Sprintf("Node metadata cannot contain more than %d key/value pairs", maxMetaPairs)
	}
	for k, v := range meta {
		var why string
		switch {
		case k == "":
			why = "Key cannot be blank"
		case !metaKey.MatchString(k):
			why = "Key contains invalid characters"
		case len(k) > maxMetaKey:
			why = fmt.Sprintf("Key is too long (limit: %d characters)", maxMetaKey)
		case len(v) > maxMetaValue:
			why = fmt.Sprintf("Value is too long (limit: %d characters)", maxMetaValue)
		default:
			continue
		}
		return fmt.Sprintf("Couldn't load metadata pair ('%s', '%s'): %s", k, v, why)
	}
	return ""
}
