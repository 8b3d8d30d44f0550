package consul

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// jsonLocalService is a service as the agent endpoints show it.
type jsonLocalService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Ports             []wire.Port `json:",omitempty"`
	Address           string
	SocketPath        string                   `json:",omitempty"`
	TaggedAddresses   map[string]wire.Endpoint `json:",omitempty"`
	Weights           wire.Weights
	EnableTagOverride bool
	ContentHash       string          `json:",omitempty" bexpr:"-"`
	Proxy             json.RawMessage `json:",omitempty"`
	Connect           json.RawMessage `json:",omitempty"`
	Datacenter        string          `json:",omitempty" bexpr:"-"`
	Locality          *wire.Locality  `json:",omitempty"`
	PeerName          string          `json:",omitempty"`
}

func (q *request) localService(i *skerry.Instance) jsonLocalService {
	var x skerry.Extra
	if i.Extra != nil {
		x = *i.Extra
	}
	meta := i.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	return jsonLocalService{
		Kind: x.Kind, ID: i.ID, Service: i.Service, Tags: wire.TagsOf(i.Tags), Meta: meta, Port: i.Port,
		Ports: wire.PortsOf(x.Ports), Address: i.Address, SocketPath: x.SocketPath,
		TaggedAddresses: wire.EndpointsOf(i.Tagged()), Weights: wire.Weights(i.Weights),
		EnableTagOverride: i.EnableTagOverride, Proxy: x.Proxy, Connect: x.Connect,
		Datacenter: q.f.b.Self.Datacenter, Locality: wire.LocalityOf(x.Locality),
	}
}

func (q *request) agentServices() error {
	out := map[string]jsonLocalService{}
	for _, i := range visible(q, q.f.b.Local.Instances(), func(i *skerry.Instance) bool { return q.seesService(i.Service) }) {
		out[i.ID] = q.localService(i)
	}
	out, err := filteredMap(q, out)
	if err != nil {
		return err
	}
	return q.json(out)
}

// agentService blocks by the content's hash, not by an index.
func (q *request) agentService() error {
	var s jsonLocalService
	var hash string
	read := func() (found bool) {
		i, _, _ := q.f.b.Local.Instance(q.rest)
		if i == nil || q.unseen(skerry.ResourceService, i.Service) {
			return false
		}
		s = q.localService(i)
		body, _ := json.Marshal(s)
		sum := fnv.New64a()
		sum.Write(body)
		hash = hex.EncodeToString(sum.Sum(nil))
		return true
	}
	found := true
	ready := func() (bool, <-chan struct{}) {
		changed := q.f.b.Local.Changed()
		found = read()
		return !found || q.p.hash == "" || hash != q.p.hash, changed
	}
	if q.p.waitErr != nil {
		return q.p.waitErr
	}
	if err := q.await(ready, nil); err != nil {
		return err
	}
	if !found {
		return notFoundError("unknown service ID: " + q.rest)
	}
	if err := q.must(skerry.ResourceService, s.Service, skerry.AccessRead); err != nil {
		return err
	}
	s.ContentHash = hash
	q.w.Header().Set("X-Consul-ContentHash", hash)
	return q.json(s)
}

func (q *request) agentServiceRegister() error {
	var body wire.ServiceBody
	if err := q.decode(&body); err != nil {
		return err
	}
	r, err := body.Registration(q.f.cfg.LegacyAPI)
	if err != nil {
		return err
	}
	if err := q.mustOwnRegistration(&r); err != nil {
		return err
	}
	r.Token = q.p.token
	r.ReplaceChecks = strings.Contains(q.p.raw, "replace-existing-checks") && q.p.has("replace-existing-checks")
	if err := q.f.b.Registrar.RegisterService(q.r.Context(), r); err != nil {
		return q.checkError(err)
	}
	q.noteAnnounced()
	q.empty()
	return nil
}

// checkError returns the error of a check in Consul's words.
func (q *request) checkError(err error) error {
	switch skerry.KindOf(err) {
	case skerry.Invalid:
		return badRequest("Invalid check: " + err.Error())
	case skerry.Denied:
		return serverError(err.Error())
	}
	return err
}

func (q *request) agentServiceDeregister() error {
	if err := q.mustOwn(q.rest, ""); err != nil {
		return err
	}
	within, drains, err := q.drain()
	if err != nil {
		return err
	}
	if !drains {
		if err := q.f.b.Registrar.DeregisterService(q.r.Context(), q.rest); err != nil {
			return err
		}
		q.noteAnnounced()
		q.empty()
		return nil
	}
	ctx := context.WithoutCancel(q.r.Context()) // the instance goes, whether its client waits or not
	i, err := q.f.b.Registrar.DrainService(ctx, q.rest)
	if err != nil {
		return err
	}
	done := q.f.b.Drains.Await(ctx, q.f.b.Self.Name, i, within)
	if err := q.f.b.Registrar.DeregisterService(ctx, q.rest); err != nil && skerry.KindOf(err) != skerry.NotFound {
		return err
	}
	return q.json(done)
}

func (q *request) agentServiceMaintenance() error {
	if q.rest == "" {
		return badRequest("Missing service ID")
	}
	if err := q.mustOwn(q.rest, ""); err != nil {
		return err
	}
	return q.maintenance(q.rest)
}

func (q *request) agentMaintenance() error { return q.maintenance("") }

func (q *request) maintenance(serviceID string) error {
	if !q.p.has("enable") {
		return badRequest("Missing value for enable")
	}
	on, err := parseBool(q.p.get("enable"))
	if err != nil {
		return err
	}
	if err := q.f.b.Registrar.SetMaintenance(q.r.Context(), serviceID, on, q.p.get("reason")); err != nil {
		return err
	}
	q.empty()
	return nil
}
