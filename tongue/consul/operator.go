package consul

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// Endpoints of the mesh, of Enterprise and of Consul's own consensus that clients call in
// passing, and those about the servers.

func (q *request) keyring() error {
	if q.r.Method != http.MethodGet {
		var body struct{ Key, Token, RelayFactor, LocalOnly wire.Ignored }
		if err := q.decode(&body); err != nil {
			return err
		}
	}
	n, dc := q.f.b.Self.Name, q.f.b.Self.Datacenter
	return serverError("4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* " + n + "." + dc +
		": Keyring is empty (encryption not enabled)\n\t* " + dc + " (LAN) error: 1/1 nodes reported failure\n\t* " + n +
		": Keyring is empty (encryption not enabled)\n\n")
}

type raftServer struct {
	ID              string
	Node            string
	Address         string
	Leader          bool
	ProtocolVersion string
	Voter           bool
	LastIndex       uint64
}

func (q *request) raftConfiguration() error {
	servers := []raftServer{}
	for _, m := range q.servers() {
		servers = append(servers, raftServer{m.ID, m.Name, m.Address, m.Address == q.leaderAddress(), "3", m.Voter, 0})
	}
	return q.json(struct {
		Servers []raftServer
		Index   uint64
	}{servers, 0})
}

// raftPeer removes a server from the quorum, unless it is the only one.
func (q *request) raftPeer() error {
	id, address := q.p.get("id"), q.p.get("address")
	switch {
	case id == "" && address == "":
		return badRequest("Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
	case id != "" && address != "":
		return badRequest("Must specify only one of ?id or ?address")
	}
	servers := q.servers()
	at := slices.IndexFunc(servers, func(m skerry.Member) bool { return m.ID == id || m.Address == address })
	switch {
	case at < 0 && id != "":
		return serverError("id " + strconv.Quote(id) + " was not found in the Raft configuration")
	case at < 0:
		return serverError("address " + strconv.Quote(address) + " was not found in the Raft configuration")
	case len(servers) == 1 || q.f.b.Servers == nil:
		return serverError("the only server cannot be removed")
	}
	if err := q.f.b.Servers.RemoveServer(q.r.Context(), servers[at].Name); err != nil {
		return err
	}
	q.empty()
	return nil
}

// transferLeader makes another server lead, by its id; without one any that can.
func (q *request) transferLeader() error {
	id, name := q.p.get("id"), ""
	servers := q.servers()
	if id != "" {
		at := slices.IndexFunc(servers, func(m skerry.Member) bool { return m.ID == id })
		if at < 0 {
			return serverError("id " + strconv.Quote(id) + " was not found in the Raft configuration")
		}
		name = servers[at].Name
	}
	if len(servers) == 1 || q.f.b.Servers == nil {
		return serverError("there is no other server that could lead")
	}
	if err := q.f.b.Servers.TransferLeader(q.r.Context(), name); err != nil {
		return serverError(err.Error())
	}
	return q.json(struct{ Success bool }{true})
}

func (q *request) caRoots() error {
	root, err := q.f.b.Roots()
	if err != nil {
		return err
	}
	type jsonRoot struct {
		ID                  string
		Name                string
		SerialNumber        uint64
		SigningKeyID        string
		ExternalTrustDomain string
		NotBefore           time.Time
		NotAfter            time.Time
		RootCert            string
		IntermediateCerts   []string
		Active              bool
		PrivateKeyType      string
		PrivateKeyBits      int
		CreateIndex         uint64
		ModifyIndex         uint64
	}
	if q.p.has("pem") {
		q.w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, err := q.w.Write([]byte(root.Certificate))
		return err
	}
	q.meta(1)
	return q.json(struct {
		ActiveRootID string
		TrustDomain  string
		Roots        []jsonRoot
	}{root.ID, root.TrustDomain, []jsonRoot{{
		ID: root.ID, Name: root.Name, SerialNumber: root.Serial, SigningKeyID: root.KeyID,
		ExternalTrustDomain: root.TrustDomain, NotBefore: root.NotBefore, NotAfter: root.NotAfter, RootCert: root.Certificate,
		Active: true, PrivateKeyType: "ec", PrivateKeyBits: 256, CreateIndex: 1, ModifyIndex: 1,
	}}})
}

type usageCounts struct {
	Nodes                    int
	Services                 int
	ServiceInstances         int
	ConnectServiceInstances  map[string]int
	BillableServiceInstances int
}

// count counts an instance: one of the mesh by its kind, the others as billable, which is
// Consul's word for users' services.
func (u *usageCounts) count(i *skerry.Instance) {
	var kind string
	var native struct{ Native bool }
	if x := i.Extra; x != nil {
		kind = x.Kind
		if x.Connect != nil && json.Unmarshal(x.Connect, &native) == nil && native.Native {
			u.ConnectServiceInstances["connect-native"]++
		}
	}
	switch {
	case kind != "":
		if _, known := u.ConnectServiceInstances[kind]; known {
			u.ConnectServiceInstances[kind]++
		}
	case i.Service != ownService:
		u.BillableServiceInstances++
	}
}

func (q *request) usage() error {
	u := usageCounts{ConnectServiceInstances: map[string]int{
		"api-gateway": 0, "connect-native": 0, "connect-proxy": 0, "ingress-gateway": 0, "mesh-gateway": 0, "terminating-gateway": 0,
	}}
	for _, v := range q.f.b.Catalog.Nodes() {
		u.Nodes++
		u.ServiceInstances += len(v.Instances)
		for _, i := range v.Instances {
			u.count(i)
		}
	}
	u.Services = len(q.f.b.Catalog.Services())
	q.meta(1)
	return q.json(struct {
		wire.ReadMeta
		Usage map[string]usageCounts
	}{wire.ReadMeta{Index: 1, KnownLeader: q.knowsLeader(), ConsistencyLevel: "leader"}, map[string]usageCounts{q.f.b.Self.Datacenter: u}})
}
