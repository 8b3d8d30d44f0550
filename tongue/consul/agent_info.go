package consul

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/serf/coordinate"
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

const memberAlive = 1 // serf's word

func (q *request) member() jsonMember {
	host, port, _ := net.SplitHostPort(q.t.cfg.ServerAddr)
	n, _ := strconv.ParseUint(port, 10, 16)
	return jsonMember{
		Name: q.t.cfg.NodeName, Addr: host, Port: uint16(n), Status: memberAlive,
		Tags: map[string]string{
			"role": "consul", "dc": q.t.cfg.Datacenter, "id": q.t.cfg.NodeID, "port": port,
			"build": SpokenVersion + ":", "vsn": "2", "skerry": q.t.cfg.Version, "bootstrap": "1",
		},
		ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4,
	}
}

func (q *request) agentSelf() error {
	coord := q.t.b.Coords.Get(q.t.cfg.NodeName)
	if coord == nil {
		coord = coordinate.NewCoordinate(coordinate.DefaultConfig())
	}
	var meta map[string]string
	if v := q.t.b.Catalog.Node(q.t.cfg.NodeName); v != nil {
		meta = v.Node.Meta
	}
	return q.json(map[string]any{
		"Config": map[string]any{
			"Datacenter": q.t.cfg.Datacenter, "PrimaryDatacenter": q.t.cfg.Datacenter,
			"NodeName": q.t.cfg.NodeName, "NodeID": q.t.cfg.NodeID, "Server": q.t.cfg.Server,
			"Version": SpokenVersion, "Revision": q.t.cfg.Revision, "BuildDate": q.t.cfg.BuildDate,
			"BindAddr": q.t.cfg.BindAddr, "SkerryVersion": q.t.cfg.Version,
		},
		"DebugConfig": q.t.b.Process.DebugConfig(),
		"Coord":       coord,
		"Member":      q.member(),
		"Stats":       q.t.b.Process.Stats(),
		"Meta":        meta,
		"xDS":         map[string]any{"Ports": map[string]int{"Plaintext": -1, "TLS": -1}},
	})
}

func (q *request) agentMembers() error {
	if segment := q.p.get("segment"); segment != "" && segment != allSegments {
		return serverError("Network segments are not supported in this version of Consul")
	}
	members := visible(q, []jsonMember{q.member()}, func(m jsonMember) bool { return q.seesNode(m.Name) })
	members, err := filtered(q, members)
	if err != nil {
		return err
	}
	return q.json(members)
}

// allSegments stands for every network segment, which are Enterprise's.
const allSegments = "_all"

func (q *request) agentVersion() error {
	return q.json(map[string]string{
		"SHA": q.t.cfg.Revision, "BuildDate": q.t.cfg.BuildDate, "HumanVersion": SpokenVersion, "FIPS": "",
		"SkerryVersion": q.t.cfg.Version,
	})
}

func (q *request) agentReload() error {
	if err := q.t.b.Process.Reload(); err != nil {
		return serverError(err.Error()) // as Consul calls it, whatever is wrong with the files
	}
	q.empty()
	return nil
}

func (q *request) agentLeave() error {
	q.empty()
	q.t.b.Process.Leave()
	return nil
}

// agentJoin answers for a single node: its own address is a member, no other can be reached.
func (q *request) agentJoin() error {
	host, port, err := net.SplitHostPort(q.rest)
	if err != nil {
		host = q.rest
	}
	own, _, _ := net.SplitHostPort(q.t.cfg.ServerAddr)
	if host == own && (port == "" || slices.Contains(q.t.cfg.JoinPorts, port)) {
		q.empty()
		return nil
	}
	if host == "" {
		return serverError("1 error occurred:\n\t* Failed to resolve : lookup : no such host\n\n")
	}
	return serverError(fmt.Sprintf("1 error occurred:\n\t* Failed to join %s: this server runs alone\n\n", q.rest))
}

func (q *request) agentForceLeave() error {
	if q.rest != q.t.cfg.NodeName {
		return serverError(fmt.Sprintf("agent: No node found with name '%s'", q.rest))
	}
	q.empty()
	return nil
}

var logLevels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo, "": slog.LevelInfo,
	"warn": slog.LevelWarn, "err": slog.LevelError, "error": slog.LevelError,
}

// agentMonitor streams the log until the client goes.
func (q *request) agentMonitor() error {
	name := q.p.get("loglevel")
	level, ok := logLevels[strings.ToLower(name)]
	if !ok {
		return badRequest("Unknown log level: " + name)
	}
	q.t.b.Process.Follow(q.r.Context(), level, q.p.has("logjson"), flushing{q.w})
	return nil
}

// flushing sends every line at once.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	flush(f.w)
	return n, err
}

func flush(w io.Writer) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
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

func (q *request) agentHost() error { return q.json(q.t.b.Process.Host()) }

func (q *request) statusLeader() error {
	return q.json(q.t.cfg.ServerAddr)
}

func (q *request) statusPeers() error {
	return q.json([]string{q.t.cfg.ServerAddr})
}
