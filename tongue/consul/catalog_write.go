package consul

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// registerBody is a write through the catalog.
type registerBody struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	Service         *registerService
	Check           *registerCheck
	Checks          []*registerCheck
	SkipNodeUpdate  bool
	Locality        *wire.Locality

	CreateIndex, ModifyIndex, PeerName, Token wire.Ignored
}

// registerService is a node's service in such a write.
type registerService struct {
	serviceShape
	Weights *wire.Weights
	Proxy   wire.ProxyBody
}

// registerCheck is a check in such a write.
type registerCheck struct {
	checkRecord
	Interval string
	Timeout  string
}

// checkRecord has the fields that such checks have in transactions too.
type checkRecord struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	Definition  registerDefinition

	CreateIndex, ExposedPort, PeerName wire.Ignored
	ModifyIndex                        uint64
}

// registerDefinition may have any fields besides those of a check.
type registerDefinition struct{ wire.CheckBody }

// UnmarshalJSON implements [json.Unmarshaler].
func (d *registerDefinition) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &d.CheckBody) }

func (q *request) catalogRegister() error {
	var b registerBody
	if err := q.decode(&b); err != nil {
		return err
	}
	record, err := b.record(q.f.b.Self.Datacenter)
	if err != nil {
		return err
	}
	if err := q.reachesNamed(b.Datacenter); err != nil {
		return err
	}
	if err := q.mustRegister(&record); err != nil {
		return err
	}
	if err := q.f.b.External.PutExternal(q.r.Context(), record); err != nil {
		// Consul calls every refusal a server error here.
		return serverError(err.Error())
	}
	return q.json(true)
}

func (b *registerBody) record(dc string) (skerry.ExternalRecord, error) {
	var r skerry.ExternalRecord
	switch {
	case b.Node == "":
		return r, serverError("Must provide node")
	case b.Address == "" && !b.SkipNodeUpdate:
		return r, serverError("Must provide address if SkipNodeUpdate is not set")
	}
	if b.ID != "" {
		if err := nodeID(b.ID); err != nil {
			return r, serverError("Bad node ID: " + err.Error())
		}
	}
	r.Node = &skerry.Node{
		Name: b.Node, ID: strings.ToLower(b.ID), Datacenter: dc, Address: b.Address,
		TaggedAddresses: b.TaggedAddresses, Meta: b.NodeMeta,
	}
	if b.Locality != nil {
		r.Node.Locality = &skerry.Locality{Region: b.Locality.Region, Zone: b.Locality.Zone}
	}
	r.KeepNode = b.SkipNodeUpdate
	if err := b.service(&r); err != nil {
		return r, err
	}
	checks := b.Checks
	if b.Check != nil {
		checks = append([]*registerCheck{b.Check}, checks...)
	}
	for _, c := range checks {
		if c == nil {
			continue
		}
		if c.Node != "" && !skerry.SameName(c.Node, b.Node) {
			return r, serverError(fmt.Sprintf("Node '%s' for check '%s' doesn't match register request node '%s'", c.Node, cmp.Or(c.CheckID, c.Name), b.Node))
		}
		one := c.record()
		one.Interval, one.Timeout = c.Interval, c.Timeout
		if one.Definition != nil {
			one.Type = cmp.Or(one.Type, typeOf(one.Definition))
		}
		r.Checks = append(r.Checks, one)
	}
	return r, nil
}

// nodeID returns an error in Consul's words if id is not a UUID.
func nodeID(id string) error {
	if len(id) != 36 {
		return fmt.Errorf("uuid string is wrong length")
	}
	if _, err := uuid.Parse(id); err != nil {
		return fmt.Errorf("uuid is improperly formatted")
	}
	return nil
}

func (b *registerBody) service(r *skerry.ExternalRecord) error {
	s := b.Service
	if s == nil {
		return nil
	}
	switch {
	case s.ID == "" && s.Service == "":
		return serverError("service name (Service.Service) is required; both Service ID (Service.ID) and Service Name cannot be empty")
	case s.Service == "":
		return serverError("Must provide service name (Service.Service) when service ID is provided")
	}
	r.Instance = s.instance()
	return nil
}

// instance returns the service for the catalog.
func (s *registerService) instance() *skerry.Instance {
	w := wire.Weights{Passing: 1, Warning: 1}
	if s.Weights != nil && *s.Weights != (wire.Weights{}) {
		w = *s.Weights
	}
	i := &skerry.Instance{
		ID: cmp.Or(s.ID, s.Service), Service: s.Service, Tags: s.Tags, Address: s.Address, Port: s.Port,
		Meta: s.Meta, Weights: skerry.Weights(w), EnableTagOverride: s.EnableTagOverride,
	}
	if s.TaggedAddresses != nil {
		i.TaggedAddresses = make(map[string]skerry.Endpoint, len(s.TaggedAddresses))
		for k, v := range s.TaggedAddresses {
			i.TaggedAddresses[k] = skerry.Endpoint(v)
		}
	}
	i.Extra = wire.InstanceExtra(s.Kind, s.SocketPath, s.Ports, s.Locality, s.Proxy.Raw, s.Connect)
	return i
}

func (c *checkRecord) record() *skerry.Check {
	id := cmp.Or(c.CheckID, c.Name)
	out := &skerry.Check{
		ID: id, Name: c.Name, Status: cmp.Or(skerry.Health(c.Status), skerry.Critical), Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: c.ServiceTags, Type: c.Type,
	}
	d, _ := c.Definition.Definition(true)
	d.H2PingUseTLS = false
	if !reflect.DeepEqual(d, skerry.CheckDefinition{}) {
		out.Definition = &d
	}
	return out
}

// typeOf returns the type of check that a definition makes; "" if it makes none, such as a
// probe without an interval.
func typeOf(d *skerry.CheckDefinition) string {
	probes := d.Interval > 0
	for _, k := range []struct {
		is   bool
		kind string
	}{
		{probes && d.DockerContainerID != "" && len(d.Args) > 0, "docker"}, {len(d.Args) > 0, "script"},
		{probes && d.HTTP != "", "http"}, {probes && d.TCP != "", "tcp"}, {probes && d.UDP != "", "udp"}, {probes && d.GRPC != "", "grpc"},
		{probes && d.H2PING != "", "h2ping"}, {probes && d.OSService != "", "os_service"},
		{d.TTL > 0, "ttl"}, {d.AliasNode+d.AliasService != "", "alias"},
	} {
		if k.is {
			return k.kind
		}
	}
	return ""
}

type deregisterBody struct {
	Node       string
	ServiceID  string
	CheckID    string
	Datacenter string
	Address    string

	PeerName, Token wire.Ignored
}

func (q *request) catalogDeregister() error {
	var b deregisterBody
	if err := q.decode(&b); err != nil {
		return err
	}
	if b.Node == "" {
		return serverError("Must provide node")
	}
	if err := q.reachesNamed(b.Datacenter); err != nil {
		return err
	}
	if err := q.mustDeregister(b.Node, b.ServiceID, b.CheckID); err != nil {
		return err
	}
	if err := q.f.b.External.DeleteExternal(q.r.Context(), b.Node, b.ServiceID, b.CheckID); err != nil {
		return serverError(err.Error())
	}
	return q.json(true)
}
