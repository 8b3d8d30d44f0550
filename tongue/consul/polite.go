package consul

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/skerryhq/skerry"
)

// Endpoints of the mesh, of Enterprise and of Consul's own consensus that
// clients ask in passing: they get an honest answer for a single server.

func (q *request) keyring() error {
	if q.r.Method != http.MethodGet {
		var body struct{ Key, Token, RelayFactor, LocalOnly ignored }
		if err := q.decode(&body); err != nil {
			return err
		}
	}
	n, dc := q.t.cfg.NodeName, q.t.cfg.Datacenter
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
	return q.json(struct {
		Servers []raftServer
		Index   uint64
	}{[]raftServer{{q.t.cfg.NodeID, q.t.cfg.NodeName, q.t.cfg.ServerAddr, true, "3", true, 0}}, 0})
}

// raftPeer takes a server out of the quorum. The only one cannot go.
func (q *request) raftPeer() error {
	id, address := q.p.get("id"), q.p.get("address")
	switch {
	case id == "" && address == "":
		return badRequest("Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
	case id != "" && address != "":
		return badRequest("Must specify only one of ?id or ?address")
	case id != "" && id != q.t.cfg.NodeID:
		return serverError("id " + strconv.Quote(id) + " was not found in the Raft configuration")
	case address != "" && address != q.t.cfg.ServerAddr:
		return serverError("address " + strconv.Quote(address) + " was not found in the Raft configuration")
	}
	return serverError("the only server cannot be removed")
}

func (q *request) autopilotConfiguration() error {
	return q.json(struct {
		CleanupDeadServers      bool
		LastContactThreshold    string
		MaxTrailingLogs         int
		MinQuorum               int
		ServerStabilizationTime string
		RedundancyZoneTag       string
		DisableUpgradeMigration bool
		UpgradeVersionTag       string
		CreateIndex             uint64
		ModifyIndex             uint64
	}{true, "200ms", 250, 0, "10s", "", false, "", 1, 1})
}

type autopilotServer struct {
	ID          string
	Name        string
	Address     string
	SerfStatus  string
	Version     string
	Leader      bool
	LastContact string
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	Voter       bool
	StableSince time.Time
}

func (q *request) autopilotHealth() error {
	return q.json(struct {
		Healthy          bool
		FailureTolerance int
		Servers          []autopilotServer
	}{true, 0, []autopilotServer{{
		ID: q.t.cfg.NodeID, Name: q.t.cfg.NodeName, Address: q.t.cfg.ServerAddr, SerfStatus: "alive",
		Version: SpokenVersion, Leader: true, LastContact: "0s", Healthy: true, Voter: true, StableSince: q.t.started,
	}}})
}

// RootCA is a certificate authority's root, in PEM.
type RootCA struct {
	ID          string
	Name        string
	TrustDomain string
	Serial      uint64
	KeyID       string
	NotBefore   time.Time
	NotAfter    time.Time
	Certificate string
}

func (q *request) caRoots() error {
	root, err := q.t.b.Roots()
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

// count notes an instance: one of the mesh by its kind, the others as billable,
// which is Consul's word for what people run.
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
	for _, v := range q.t.b.Catalog.Nodes() {
		u.Nodes++
		u.ServiceInstances += len(v.Instances)
		for _, i := range v.Instances {
			u.count(i)
		}
	}
	u.Services = len(q.t.b.Catalog.Services())
	q.meta(1)
	return q.json(struct {
		readMeta
		Usage map[string]usageCounts
	}{readMeta{Index: 1, KnownLeader: true, ConsistencyLevel: "leader"}, map[string]usageCounts{q.t.cfg.Datacenter: u}})
}
