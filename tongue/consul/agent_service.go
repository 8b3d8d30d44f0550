package consul

import (
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"strings"

	"github.com/skerryhq/skerry"
)

// jsonLocalService is a service as the agent endpoints show it.
type jsonLocalService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Ports             []jsonPort `json:",omitempty"`
	Address           string
	SocketPath        string                  `json:",omitempty"`
	TaggedAddresses   map[string]jsonEndpoint `json:",omitempty"`
	Weights           jsonWeights
	EnableTagOverride bool
	ContentHash       string          `json:",omitempty" bexpr:"-"`
	Proxy             json.RawMessage `json:",omitempty"`
	Connect           json.RawMessage `json:",omitempty"`
	Datacenter        string          `json:",omitempty" bexpr:"-"`
	Locality          *jsonLocality   `json:",omitempty"`
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
		Kind: x.Kind, ID: i.ID, Service: i.Service, Tags: tagsJSON(i.Tags), Meta: meta, Port: i.Port,
		Ports: portsJSON(x.Ports), Address: i.Address, SocketPath: x.SocketPath,
		TaggedAddresses: endpointsJSON(i.Tagged()), Weights: jsonWeights(i.Weights),
		EnableTagOverride: i.EnableTagOverride, Proxy: x.Proxy, Connect: x.Connect,
		Datacenter: q.t.cfg.Datacenter, Locality: localityJSON(x.Locality),
	}
}

func (q *request) agentServices() error {
	out := map[string]jsonLocalService{}
	for _, i := range visible(q, q.t.b.Local.Instances(), func(i *skerry.Instance) bool { return q.seesService(i.Service) }) {
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
		i, _, _ := q.t.b.Local.Instance(q.rest)
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
		changed := q.t.b.Local.Changed()
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
	var body serviceBody
	if err := q.decode(&body); err != nil {
		return err
	}
	r, err := body.registration(q.t.cfg.LegacyAPI)
	if err != nil {
		return err
	}
	if err := q.mustOwnRegistration(&r); err != nil {
		return err
	}
	r.ReplaceChecks = strings.Contains(q.p.raw, "replace-existing-checks") && q.p.has("replace-existing-checks")
	if err := q.t.b.Registrar.RegisterService(q.r.Context(), r); err != nil {
		return q.checkError(err)
	}
	q.empty()
	return nil
}

// checkError words what is wrong with a check as Consul does.
func (q *request) checkError(err error) error {
	switch skerry.KindOf(err) {
	case skerry.Invalid:
		return badRequest("Invalid check: " + err.Error())
	case skerry.Denied:
		return serverError(err.Error())
	}
	return err
}

// mustOwnRegistration asks for write access to the service, and to what its checks
// are of that are there already.
func (q *request) mustOwnRegistration(r *skerry.Registration) error {
	if q.who == nil {
		return nil
	}
	if err := q.mustOwn(r.Instance.ID, r.Instance.Service); err != nil {
		return err
	}
	for n := range r.Checks {
		if err := q.mustReplace(r.CheckID(n)); err != nil {
			return err
		}
	}
	return nil
}

// mustOwn asks for write access to a service, and to the one that now has its ID.
func (q *request) mustOwn(id, service string) error {
	if q.who == nil {
		return nil
	}
	if service != "" {
		if err := q.must(skerry.ResourceService, service, skerry.AccessWrite); err != nil {
			return err
		}
	}
	i, _, _ := q.t.b.Local.Instance(id)
	if i == nil || i.Service == service {
		return nil
	}
	if service == "" && q.unseen(skerry.ResourceService, i.Service) {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "service", ID: id}
	}
	return q.mustStill(skerry.ResourceService, i.Service, skerry.AccessWrite)
}

func (q *request) agentServiceDeregister() error {
	if err := q.mustOwn(q.rest, ""); err != nil {
		return err
	}
	if err := q.t.b.Registrar.DeregisterService(q.r.Context(), q.rest); err != nil {
		return err
	}
	q.empty()
	return nil
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
	if err := q.t.b.Registrar.SetMaintenance(q.r.Context(), serviceID, on, q.p.get("reason")); err != nil {
		return err
	}
	q.empty()
	return nil
}
