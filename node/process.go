package node

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/host"
	"github.com/skerryhq/skerry/tongue/consul"
)

// process is the process as a whole, as the Consul front-end sees it.
type process struct{ *Node }

// Reload implements [consul.Process].
func (p process) Reload() error { return p.Node.Reload() }

// Leave implements [consul.Process].
func (p process) Leave() {
	if p.served.servers != nil {
		p.leaveServers()
	}
	if p.attached.attachment != nil {
		p.detach()
	}
	p.leave()
}

// Follow implements [consul.Process].
func (p process) Follow(ctx context.Context, level slog.Level, json bool, w io.Writer) {
	p.cfg.Stream.Follow(ctx, level, json, w)
}

// DebugConfig implements [consul.Process].
func (p process) DebugConfig() any { return p.cfg.Debug }

// Stats implements [consul.Process].
func (p process) Stats() map[string]map[string]string {
	counts := map[string]int{}
	for _, c := range p.kept.agent.Checks() {
		switch c.Type {
		case "ttl":
			counts["check_ttls"]++
		case "script":
			counts["check_monitors"]++
		}
	}
	sections := map[string]map[string]string{}
	if a := p.attached.attachment; a != nil {
		sections["attached"] = attachedStats(a.State())
		sections["attached"]["refused_services"] = strings.Join(slices.Sorted(maps.Keys(a.Refused())), ", ")
	}
	catalog := "ready"
	if err := p.Ready(); err != nil {
		catalog = err.Error()
	}
	if far := p.farStats(); len(far) > 0 {
		sections["datacenters"] = far
	}
	maps.Copy(sections, map[string]map[string]string{
		"catalog":     {"state": catalog},
		"propagation": {"p99": p.propagationLine()},
		"exposure":    p.cfg.Exposures,
		"agent": {
			"check_monitors": strconv.Itoa(counts["check_monitors"]), "check_ttls": strconv.Itoa(counts["check_ttls"]),
			"checks": strconv.Itoa(len(p.kept.agent.Checks())), "services": strconv.Itoa(len(p.kept.agent.Instances())),
		},
		"build":  {"version": consul.SpokenVersion, "revision": p.cfg.Consul.Revision, "skerry": p.cfg.Consul.Version},
		"consul": p.asServer(),
		"runtime": {
			"arch": runtime.GOARCH, "os": runtime.GOOS, "version": runtime.Version(),
			"goroutines": strconv.Itoa(runtime.NumGoroutine()), "cpu_count": strconv.Itoa(runtime.NumCPU()),
		},
	})
	return sections
}

// attachedStats describes an agent's attachment.
func attachedStats(a skerry.Attachment) map[string]string {
	server := a.Server
	if server == "" {
		server = "none: this agent is alone"
	}
	return map[string]string{"server": server, "since": a.Since.UTC().Format(time.RFC3339), "registrations_announced": strconv.FormatBool(a.Settled)}
}

// asServer describes this server among the servers, or the servers that an agent knows.
func (p process) asServer() map[string]string {
	if a := p.attached.attachment; a != nil {
		return map[string]string{"server": "false", "known_servers": strconv.Itoa(len(a.Servers())), "known_datacenters": "1"}
	}
	leader, _ := p.served.cluster.Leader()
	return map[string]string{
		"server": strconv.FormatBool(p.cfg.Self.Server), "leader": strconv.FormatBool(leader.Name == p.cfg.Self.Name), "leader_addr": leader.Address,
		"bootstrap": strconv.FormatBool(p.served.servers == nil), "known_datacenters": strconv.Itoa(1 + len(p.otherDatacenters())),
	}
}

// otherDatacenters are the other datacenters that this process knows, the nearest first.
func (p process) otherDatacenters() []skerry.Datacenter {
	if p.far == nil {
		return nil
	}
	return p.far.Datacenters()
}

// farStats describes the other datacenters.
func (p process) farStats() map[string]string {
	out := map[string]string{}
	for _, dc := range p.otherDatacenters() {
		state := "not reached"
		if dc.Reached {
			state = "reached"
		}
		if dc.Distance > 0 {
			state += ", round trip " + dc.Distance.Round(10*time.Microsecond).String()
		}
		if !dc.Heard.IsZero() {
			state += ", heard " + time.Since(dc.Heard).Round(100*time.Millisecond).String() + " ago"
		}
		out[dc.Name] = state
	}
	return out
}

// Host implements [consul.Process].
func (p process) Host() map[string]any { return host.Describe() }
