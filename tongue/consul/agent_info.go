package consul

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
)

type jsonMember struct {
	Name        string
	Addr        string
	Port        uint16
	Tags        map[string]string
	Status      int
	ProtocolMin int
	ProtocolMax int
	ProtocolCur int
	DelegateMin int
	DelegateMax int
	DelegateCur int
}

// The states of members, by serf's numbers.
const (
	memberAlive  = 1
	memberFailed = 4
)

func (q *request) member(m *skerry.Member) jsonMember {
	host, port, _ := net.SplitHostPort(m.Address)
	n, _ := strconv.ParseUint(port, 10, 16)
	status := memberAlive
	if !m.Alive {
		status = memberFailed
	}
	tags := map[string]string{"role": "node", "dc": m.Datacenter, "id": m.ID, "build": SpokenVersion + ":", "vsn": "2", "skerry": q.f.cfg.Version}
	if m.Server {
		tags["role"], tags["port"] = "consul", port
	}
	if m.Server && q.f.b.Servers == nil && q.f.b.Attached == nil {
		tags["bootstrap"] = "1" // it serves alone
	}
	return jsonMember{
		Name: m.Name, Addr: host, Port: uint16(n), Status: status, Tags: tags,
		ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4,
	}
}

func (q *request) agentSelf() error {
	coord := q.f.b.Coords.Get(q.f.b.Self.Name)
	if coord == nil {
		coord = coordinate.NewCoordinate(coordinate.DefaultConfig())
	}
	var meta map[string]string
	if v := q.f.b.Catalog.Node(q.f.b.Self.Name); v != nil {
		meta = v.Node.Meta
	}
	return q.json(map[string]any{
		"Config": map[string]any{
			"Datacenter": q.f.b.Self.Datacenter, "PrimaryDatacenter": cmp.Or(q.f.cfg.Primary, q.f.b.Self.Datacenter),
			"NodeName": q.f.b.Self.Name, "NodeID": q.f.b.Self.ID, "Server": q.f.b.Self.Server,
			"Version": SpokenVersion, "Revision": q.f.cfg.Revision, "BuildDate": q.f.cfg.BuildDate,
			"BindAddr": q.f.cfg.BindAddr, "SkerryVersion": q.f.cfg.Version,
		},
		"DebugConfig": q.f.b.Process.DebugConfig(),
		"Coord":       coord,
		"Member":      q.member(q.self()),
		"Stats":       q.f.b.Process.Stats(),
		"Meta":        meta,
		"xDS":         map[string]any{"Ports": map[string]int{"Plaintext": -1, "TLS": -1}},
	})
}

func (q *request) agentMembers() error {
	if segment := q.p.get("segment"); segment != "" && segment != allSegments {
		return serverError("Network segments are not supported in this version of Consul")
	}
	wan := q.p.get("wan") != "" // a bare ?wan counts for nothing in Consul
	var members []jsonMember
	switch {
	case wan && q.f.b.Forward != nil: // an agent does not know them
		clear(q.w.Header())
		q.f.b.Forward.Forward(q.w, q.r, false)
		return errAnswered
	case wan:
		members = q.membersWAN()
	default:
		for _, m := range q.f.b.Cluster.Members() {
			members = append(members, q.member(&m))
		}
	}
	members = visible(q, members, func(m jsonMember) bool { return q.seesNode(m.Name) })
	members, err := filtered(q, members)
	if err != nil {
		return err
	}
	return q.json(members)
}

// membersWAN returns the servers of all datacenters, with the names of their datacenters.
func (q *request) membersWAN() (out []jsonMember) {
	all := q.servers()
	if far := q.f.b.Datacenters; far != nil {
		for _, dc := range far.Datacenters() {
			all = append(all, dc.Servers...)
		}
	}
	for _, m := range all {
		m.Name += "." + m.Datacenter
		out = append(out, q.member(&m))
	}
	return out
}

// allSegments means every network segment. Segments are an Enterprise feature.
const allSegments = "_all"

func (q *request) agentVersion() error {
	return q.json(map[string]string{
		"SHA": q.f.cfg.Revision, "BuildDate": q.f.cfg.BuildDate, "HumanVersion": SpokenVersion, "FIPS": "",
		"SkerryVersion": q.f.cfg.Version,
	})
}

func (q *request) agentReload() error {
	if err := q.f.b.Process.Reload(); err != nil {
		return serverError(err.Error()) // as Consul calls it, whatever is wrong with the files
	}
	q.empty()
	return nil
}

func (q *request) agentLeave() error {
	q.empty()
	q.f.b.Process.Leave()
	return nil
}

// agentJoin answers as a single node: its own address is a member, no other can be reached.
func (q *request) agentJoin() error {
	host, port, err := net.SplitHostPort(q.rest)
	if err != nil {
		host = q.rest
	}
	own, _, _ := net.SplitHostPort(q.self().Address)
	if host == own && (port == "" || slices.Contains(q.f.cfg.JoinPorts, port)) {
		q.empty()
		return nil
	}
	if host == "" {
		return serverError("1 error occurred:\n\t* Failed to resolve : lookup : no such host\n\n")
	}
	why := "this server runs alone"
	if q.f.b.Attached != nil {
		why = "an agent joins the servers of retry_join"
	}
	return serverError(fmt.Sprintf("1 error occurred:\n\t* Failed to join %s: %s\n\n", q.rest, why))
}

// agentForceLeave removes a server that is down. On one that is up it has no effect, as in
// Consul.
func (q *request) agentForceLeave() error {
	if q.p.has("wan") {
		return q.forceLeaveWAN()
	}
	down, err := q.isDown(q.rest)
	if err != nil {
		return err
	}
	if s := q.f.b.Servers; s != nil && down {
		if err := s.RemoveServer(q.r.Context(), q.rest); err != nil {
			return err
		}
	}
	q.empty()
	return nil
}

// forceLeaveWAN drops a server of another datacenter that does not answer. One of this datacenter keeps its place: it is
// removed by its plain name.
func (q *request) forceLeaveWAN() error {
	at := strings.LastIndexByte(q.rest, '.')
	name, dc := q.rest[:max(at, 0)], q.rest[at+1:]
	here := slices.ContainsFunc(q.servers(), func(m skerry.Member) bool { return m.Name == name })
	if far := q.f.b.Datacenters; !(q.knows(dc) && here) && (far == nil || !far.Forget(skerry.Fold(dc), name)) {
		return serverError(fmt.Sprintf("agent: No node found with name '%s'", q.rest))
	}
	q.empty()
	return nil
}

// heardEvery is how often it is looked whether a server was heard.
const heardEvery = 50 * time.Millisecond

// isDown reports whether a server is down. One that counts as up has to be heard once more: it
// may have died a moment ago, and another server may show that already.
func (q *request) isDown(name string) (bool, error) {
	for began := time.Now(); ; {
		members := q.f.b.Cluster.Members()
		at := slices.IndexFunc(members, func(m skerry.Member) bool { return m.Name == name })
		switch {
		case at < 0:
			return false, serverError(fmt.Sprintf("agent: No node found with name '%s'", name))
		case !members[at].Alive:
			return true, nil
		case members[at].Heard < time.Since(began):
			return false, nil
		}
		select {
		case <-q.r.Context().Done():
			return false, q.r.Context().Err()
		case <-time.After(heardEvery):
		}
	}
}

var logLevels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo, "": slog.LevelInfo,
	"warn": slog.LevelWarn, "err": slog.LevelError, "error": slog.LevelError,
}

// agentMonitor streams the log until the client disconnects.
func (q *request) agentMonitor() error {
	name := q.p.get("loglevel")
	level, ok := logLevels[strings.ToLower(name)]
	if !ok {
		return badRequest("Unknown log level: " + name)
	}
	q.f.b.Process.Follow(q.r.Context(), level, q.p.has("logjson"), flushing{q.w})
	return nil
}

// flushing sends every line at once.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	flush(f.w)
	return n, err
}

func (q *request) agentMetricsStream() error {
	ctx, cancel := context.WithCancel(q.r.Context())
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		body, err := q.metricsSummary()
		if err != nil {
			return err
		}
		q.w.Write(append(body, '\n'))
		flush(q.w)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (q *request) agentHost() error { return q.json(q.f.b.Process.Host()) }

func (q *request) statusLeader() error {
	return q.json(q.leaderAddress())
}

func (q *request) statusPeers() error {
	peers := []string{}
	for _, m := range q.servers() {
		peers = append(peers, m.Address)
	}
	return q.json(peers)
}
