package consul

import (
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// autopilotBody is how the servers look after each other, on the wire. Fields that a body
// lacks have their defaults.
type autopilotBody struct {
	CleanupDeadServers      bool
	LastContactThreshold    wire.Duration
	MaxTrailingLogs         uint64
	MinQuorum               uint
	ServerStabilizationTime wire.Duration
	RedundancyZoneTag       string
	DisableUpgradeMigration bool
	UpgradeVersionTag       string

	CreateIndex, ModifyIndex wire.Ignored
}

// autopilotConfiguration answers how the servers look after each other, and changes it.
func (q *request) autopilotConfiguration() error {
	if q.r.Method == http.MethodPut {
		return q.autopilotConfigure()
	}
	if err := q.synced(); err != nil {
		return err
	}
	a, err := q.f.b.Settings.Autopilot()
	if err != nil {
		return err
	}
	return q.json(struct {
		CleanupDeadServers      bool
		LastContactThreshold    string
		MaxTrailingLogs         uint64
		MinQuorum               uint
		ServerStabilizationTime string
		RedundancyZoneTag       string
		DisableUpgradeMigration bool
		UpgradeVersionTag       string
		CreateIndex             uint64
		ModifyIndex             uint64
	}{
		a.CleanupDeadServers, a.LastContactThreshold.String(), a.MaxTrailingLogs, a.MinQuorum, a.ServerStabilizationTime.String(),
		a.RedundancyZoneTag, a.DisableUpgradeMigration, a.UpgradeVersionTag, a.Created, a.Modified,
	})
}

func (q *request) autopilotConfigure() error {
	cas, given, err := q.number("cas")
	if err != nil {
		return err
	}
	first := skerry.DefaultAutopilot()
	body := autopilotBody{
		CleanupDeadServers: first.CleanupDeadServers, LastContactThreshold: wire.Duration(first.LastContactThreshold),
		MaxTrailingLogs: first.MaxTrailingLogs, ServerStabilizationTime: wire.Duration(first.ServerStabilizationTime),
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	for name, d := range map[string]wire.Duration{"LastContactThreshold": body.LastContactThreshold, "ServerStabilizationTime": body.ServerStabilizationTime} {
		if d <= 0 {
			return badRequest("Invalid " + name + ": want a time above 0, for example \"10s\"")
		}
	}
	var after *uint64
	if given {
		after = &cas
	}
	set, err := q.f.b.Settings.SetAutopilot(q.r.Context(), skerry.Autopilot{
		CleanupDeadServers: body.CleanupDeadServers, MinQuorum: body.MinQuorum,
		ServerStabilizationTime: time.Duration(body.ServerStabilizationTime), LastContactThreshold: time.Duration(body.LastContactThreshold),
		MaxTrailingLogs: body.MaxTrailingLogs, RedundancyZoneTag: body.RedundancyZoneTag,
		DisableUpgradeMigration: body.DisableUpgradeMigration, UpgradeVersionTag: body.UpgradeVersionTag,
	}, after)
	if err != nil {
		return err
	}
	return q.json(set)
}

// serverHealth returns the servers, whether all are well, and how many voters may still be
// lost.
func (q *request) serverHealth() (servers []skerry.Member, healthy bool, tolerance int) {
	servers, healthy = q.servers(), true
	voters, alive := 0, 0
	for _, m := range servers {
		healthy = healthy && m.Alive
		if m.Voter {
			voters++
			if m.Alive {
				alive++
			}
		}
	}
	return servers, healthy, max(alive-voters/2-1, 0)
}

// serfStatus is the state of a member in Consul's words.
func serfStatus(m *skerry.Member) string {
	if m.Alive {
		return "alive"
	}
	return "failed"
}

// lastContact is the time since a server and the leader heard each other last, as far as this
// server knows: it knows its own time, and when it heard another itself.
func (q *request) lastContact(m *skerry.Member, leader string) string {
	ago := m.Heard
	switch {
	case m.Address == leader:
		ago = 0
	case m.Name == q.f.b.Self.Name:
		ago, _ = q.f.b.Cluster.LastContact()
	}
	return ago.Round(time.Millisecond).String()
}

// stableSince returns since when a server is well; the start of this one if that is not known.
func (q *request) stableSince(m *skerry.Member) time.Time {
	if m.Alive && m.Since.IsZero() {
		return q.f.started
	}
	return m.Since
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

// autopilotHealth answers 429 when a server is not well, as scripts expect.
func (q *request) autopilotHealth() error {
	all, healthy, tolerance := q.serverHealth()
	leader := q.leaderAddress()
	servers := []autopilotServer{}
	for i := range all {
		m := &all[i]
		servers = append(servers, autopilotServer{
			ID: m.ID, Name: m.Name, Address: m.Address, SerfStatus: serfStatus(m), Version: SpokenVersion,
			Leader: m.Address == leader, LastContact: q.lastContact(m, leader), Healthy: m.Alive, Voter: m.Voter,
			LastTerm: m.Term, LastIndex: m.Index, StableSince: q.stableSince(m),
		})
	}
	status := http.StatusOK
	if !healthy {
		status = http.StatusTooManyRequests
	}
	return q.jsonStatus(status, struct {
		Healthy          bool
		FailureTolerance int
		Servers          []autopilotServer
	}{healthy, tolerance, servers})
}

type autopilotStateServer struct {
	ID          string
	Name        string
	Address     string
	NodeStatus  string
	Version     string
	LastContact string
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	StableSince time.Time
	ReadReplica bool
	Status      string
	Meta        map[string]string
	NodeType    string
}

func (q *request) autopilotState() error {
	all, healthy, tolerance := q.serverHealth()
	leader := q.leaderAddress()
	out := struct {
		Healthy                    bool
		FailureTolerance           int
		OptimisticFailureTolerance int
		Servers                    map[string]autopilotStateServer
		Leader                     string
		Voters                     []string
	}{healthy, tolerance, tolerance, map[string]autopilotStateServer{}, "", []string{}}
	for i := range all {
		m := &all[i]
		one := autopilotStateServer{
			ID: m.ID, Name: m.Name, Address: m.Address, NodeStatus: serfStatus(m), Version: SpokenVersion, LastContact: q.lastContact(m, leader),
			Healthy: m.Alive, LastTerm: m.Term, LastIndex: m.Index, StableSince: q.stableSince(m), Status: "non-voter", Meta: map[string]string{}, NodeType: "voter",
		}
		switch {
		case m.Address == leader:
			one.Status, out.Leader = "leader", m.ID
		case m.Voter:
			one.Status = "voter"
		}
		if m.Voter {
			out.Voters = append(out.Voters, m.ID)
		}
		out.Servers[m.ID] = one
	}
	return q.json(out)
}
