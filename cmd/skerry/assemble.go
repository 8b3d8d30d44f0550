package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/lease"
	"github.com/skerryhq/skerry/logstream"
	"github.com/skerryhq/skerry/node"
	"github.com/skerryhq/skerry/tongue/consul"
	"github.com/skerryhq/skerry/tongue/dns"
)

// nodeConfig translates the operator's configuration into that of the parts.
func nodeConfig(c *config.Config, stream *logstream.Stream, log *slog.Logger) (node.Config, error) {
	advertise, err := c.Advertise()
	if err != nil {
		return node.Config{}, err
	}
	if c.NodeID == "" {
		if c.NodeID, err = ownNodeID(c.DataDir); err != nil {
			return node.Config{}, err
		}
	}
	out := node.Config{
		Self: skerry.Self{Name: c.NodeName, ID: c.NodeID, Datacenter: c.Datacenter, Server: c.Server},
		Role: role(c),
		Record: node.Record{
			Address: advertise.String(), TaggedAddresses: taggedAddresses(c), Meta: c.NodeMeta, Locality: c.Locality, ServerPort: c.Ports.Server,
		},
		DataDir: c.DataDir,
		Quorum: node.Quorum{
			Endpoints: c.Quorum.Endpoints, Prefix: c.Quorum.Prefix,
			User: c.Quorum.User, Password: c.Quorum.Password, Quota: int64(c.Quorum.Quota),
			CAFile: c.Quorum.CAFile, CertFile: c.Quorum.CertFile, KeyFile: c.Quorum.KeyFile,
		},
		SessionTTLMin: c.SessionTTLMin,
		Cluster:       clusterConfig(c),
		Autopilot:     autopilotConfig(&c.Autopilot),
		Consul:        consulConfig(c, advertise.String(), log),
		DNS:           dnsConfig(c, log),
		AllowedHosts:  c.HTTP.AllowedHosts, Profiles: c.EnableDebug,
		ACL:    accessControl(c),
		Guard:  catalog.Guard{Share: c.Guard.Share, Least: c.Guard.Least, Window: c.Guard.Window, Hold: c.Guard.Hold},
		Leases: lease.Limits(c.Lease),
		Shown:  door.MetricFilter{Rules: c.Telemetry.PrefixFilter, HideOthers: !c.Telemetry.FilterDefault},
		Agent: node.Agent{
			Checks: check.Policy{AllowScripts: c.EnableScriptChecks}, LocalChecks: check.Policy{AllowScripts: c.EnableLocalScriptChecks, Local: true},
			OutputMaxSize: c.CheckOutputMaxSize, DiscardOutput: c.DiscardCheckOutput, Services: c.Services, NodeChecks: c.Checks,
		},
		Watched: node.Watched{Dir: c.WatchDir, Parse: func(name string, data []byte) ([]skerry.Registration, []skerry.CheckDefinition, error) {
			return config.ParseServiceFile(name, data, c.LegacyAPI)
		}},
		CheckUpdateInterval: max(c.CheckUpdateInterval, 1), CanaryInterval: c.CanaryInterval,
		Exposures: exposures(c), Debug: debugConfig(c, advertise.String()), Log: log, Stream: stream,
	}
	if c.Dev {
		out.DataDir = ""
	}
	if c.Ports.HTTPS > 0 && c.TLS.HTTPS.CertFile == "" {
		// Consul starts with such a configuration, and can serve nothing there.
		log.Warn("ports.https needs a certificate: set tls.https.cert_file and key_file; HTTPS is off")
		c.Ports.HTTPS = -1
	}
	out.Door, err = doorConfig(c)
	return out, err
}

func role(c *config.Config) node.Role {
	switch {
	case c.Dev:
		return node.DevRole
	case c.Among():
		return node.PeerRole
	case c.Server:
		return node.ServerRole
	default:
		return node.AgentRole
	}
}

// clusterConfig translates what a process has to do with others. The addresses were validated.
func clusterConfig(c *config.Config) node.Cluster {
	join, _ := c.JoinAddresses()
	wan, _ := c.JoinWANAddresses()
	out := node.Cluster{
		JoinWAN: wan, RetryWANEvery: c.RetryIntervalWAN,
		Bind: strings.Trim(c.BindAddr, "[]"), Join: join, Expect: c.BootstrapExpect, NoVote: !c.Voting, RetryEvery: c.RetryInterval,
		ServerPort: c.Ports.Server, QuorumPort: c.Ports.Quorum, BusPort: c.Ports.Bus,
		TokenFile: c.JoinTokenFile, Mixed: c.InsecureCluster && c.Secured(), CertificateFor: c.TLS.NodeTTL, Own: node.OwnCertificate(c.TLS.Internal),
		BusURL: c.Bus.URL, BusUser: c.Bus.User, BusPassword: c.Bus.Password, BusCredsFile: c.Bus.CredsFile,
	}
	if !c.Among() {
		out.Bind, out.GoOn = strings.Trim(c.AgentsBind(), "[]"), !c.IsSet("ports.server")
		if out.Bind == "" {
			out.ServerPort = 0
		}
	}
	return out
}

func autopilotConfig(c *config.Autopilot) skerry.Autopilot {
	return skerry.Autopilot{
		CleanupDeadServers: c.CleanupDeadServers, MinQuorum: uint(max(c.MinQuorum, 0)), ServerStabilizationTime: c.ServerStabilizationTime,
		LastContactThreshold: c.LastContactThreshold, MaxTrailingLogs: uint64(max(c.MaxTrailingLogs, 0)),
	}
}

func doorConfig(c *config.Config) (door.Config, error) {
	out := door.Config{
		Unix: door.UnixSocket(c.UnixSockets), TLS: tlsConfig(&c.TLS.HTTPS), Handshake: c.Limits.HTTPSHandshakeTimeout, Limits: limits(c),
	}
	for _, l := range []struct {
		protocol string
		into     *[]string
	}{{"http", &out.HTTP}, {"https", &out.HTTPS}, {"dns", &out.DNS}} {
		listeners, err := c.Listeners(l.protocol)
		if err != nil {
			return out, err
		}
		for _, at := range listeners {
			address := at.Address
			if at.Network == "unix" {
				address = "unix://" + address
			}
			*l.into = append(*l.into, address)
		}
	}
	return out, nil
}

func exposures(c *config.Config) map[string]string {
	out := map[string]string{}
	for _, e := range c.Exposures() {
		out[e.Name] = e.Message
	}
	return out
}

func tlsConfig(l *config.TLSListener) door.TLS {
	return door.TLS{
		CertFile: l.CertFile, KeyFile: l.KeyFile, CAFile: l.CAFile, CAPath: l.CAPath, VerifyIncoming: l.VerifyIncoming,
		MinVersion: l.TLSMinVersion, CipherSuites: l.TLSCipherSuites,
	}
}

func taggedAddresses(c *config.Config) map[string]string {
	out := map[string]string{}
	for tag, address := range map[string]string{
		"lan_ipv4": c.AdvertiseAddrIPv4, "lan_ipv6": c.AdvertiseAddrIPv6, "wan": c.AdvertiseAddrWAN,
		"wan_ipv4": c.AdvertiseAddrWANIPv4, "wan_ipv6": c.AdvertiseAddrWANIPv6,
	} {
		if address != "" {
			out[tag] = address
		}
	}
	return out
}

func consulConfig(c *config.Config, advertise string, log *slog.Logger) consul.Config {
	return consul.Config{
		Primary: c.PrimaryDatacenter, BindAddr: c.BindAddr, Dev: c.Dev,
		JoinPorts: []string{strconv.Itoa(c.Ports.SerfLAN), strconv.Itoa(c.Ports.SerfWAN), strconv.Itoa(c.Ports.Server)},
		Version:   versionString(), Revision: revision(), BuildDate: buildDate(), LegacyAPI: c.LegacyAPI,
		DefaultWait: c.DefaultQueryTime, MaxWait: c.MaxQueryTime, Headers: c.HTTP.ResponseHeaders,
		Blocked: c.HTTP.BlockEndpoints, WriteFrom: c.HTTP.AllowWriteHTTPFrom,
		MetricsOn: c.Telemetry.PrometheusRetentionTime > 0 || c.Dev, Log: log,
		MaxValue: int64(c.Limits.KVMaxValueSize), MaxTxn: int64(c.Limits.TxnMaxReqLen),
		KeyList:      c.ACL.EnableKeyListPolicy,
		MetricPrefix: metricPrefix(c), NoCache: !c.HTTP.UseCache, StaleDiscovery: c.HTTP.DiscoveryMaxStale > 0,
	}
}

// accessControl translates the acl section. The cache times have no effect: servers decide from their
// own copy of the store, and agents ask again when something changes.
func accessControl(all *config.Config) node.ACL {
	c := all.ACL
	defaults := rules.Open
	if c.DefaultPolicy == "deny" {
		defaults = rules.Strict
	}
	switch c.Preset {
	case "open":
		defaults = rules.Open
	case "read-open":
		defaults = rules.ReadOpen
	case "strict":
		defaults = rules.Strict
	}
	t := c.Tokens
	return node.ACL{
		Enabled: c.Enabled, Primary: all.PrimaryDatacenter, CopyTokens: c.EnableTokenReplication, Defaults: defaults, Hide: c.Preset == "strict", InitialManagement: t.InitialManagement, PersistTokens: c.EnableTokenPersistence, DryRun: c.DryRun, Down: remote.Down(c.DownPolicy),
		Tokens: map[string]string{
			access.DefaultToken: t.Default, access.AgentToken: t.Agent, access.RecoveryToken: t.AgentRecovery,
			access.ReplicationToken: t.Replication, access.FileToken: t.ConfigFileRegistration, access.DNSToken: t.DNS,
		},
		Audit: access.AuditConfig{
			Path: c.Audit.Path, Reads: c.Audit.Reads, MaxBytes: c.Audit.RotateBytes, MaxAge: c.Audit.RotateDuration, MaxFiles: c.Audit.RotateMaxFiles,
		},
	}
}

func metricPrefix(c *config.Config) string {
	prefix := c.Telemetry.MetricsPrefix
	if prefix == "" {
		prefix = "consul"
	}
	if host, err := os.Hostname(); err == nil && !c.Telemetry.DisableHostname {
		prefix += "." + host
	}
	return prefix
}

func dnsConfig(c *config.Config, log *slog.Logger) dns.Config {
	d := c.DNS
	limit := dns.RateLimit{PerSecond: d.RateLimit.ResponsesPerSecond, Slip: d.RateLimit.Slip}
	for _, s := range d.RateLimit.Exempt {
		if p, err := netip.ParsePrefix(s); err == nil { // config has checked them
			limit.Exempt = append(limit.Exempt, p)
		}
	}
	return dns.Config{
		Domain: c.Domain, AltDomain: c.AltDomain,
		NodeTTL: d.NodeTTL, ServiceTTL: d.ServiceTTL, OnlyPassing: d.OnlyPassing, EnableTruncate: d.EnableTruncate,
		DisableCompression: d.DisableCompression, AdditionalNodeMetaTXT: d.EnableAdditionalNodeMetaTXT,
		ARecordLimit: d.ARecordLimit, UDPAnswerLimit: d.UDPAnswerLimit, UDPMax: d.UDPMax, RateLimit: limit,
		SOA: dns.SOA{
			Refresh: uint32(d.SOA.Refresh), Retry: uint32(d.SOA.Retry), Expire: uint32(d.SOA.Expire), MinTTL: uint32(d.SOA.MinTTL),
		},
		Recursors: c.Recursors, RecursorStrategy: d.RecursorStrategy, RecursorTimeout: d.RecursorTimeout, Log: log,
	}
}

func limits(c *config.Config) door.Limits {
	l := door.Limits{ConnsPerClient: c.Limits.HTTPMaxConnsPerClient, MaxHeaderBytes: c.HTTP.MaxHeaderBytes}
	if l.ConnsPerClient == 0 {
		l.ConnsPerClient = -1 // Consul's 0 means no limit
	}
	if r := c.Limits.RequestLimits; r.Mode == "enforcing" {
		l.ReadRate, l.WriteRate = r.ReadRate, r.WriteRate
	}
	return l
}

// debugConfig is the part of the configuration in agent/self, without secrets.
func debugConfig(c *config.Config, advertise string) map[string]any {
	return map[string]any{
		"Datacenter": c.Datacenter, "PrimaryDatacenter": c.PrimaryDatacenter, "RetryJoinWAN": c.RetryJoinWAN, "RetryJoinIntervalWAN": c.RetryIntervalWAN.String(),
		"NodeName": c.NodeName, "NodeID": c.NodeID, "ServerMode": c.Server, "DevMode": c.Dev,
		"DataDir": c.DataDir, "BindAddr": c.BindAddr, "ClientAddrs": strings.Fields(c.ClientAddr), "AdvertiseAddrLAN": advertise,
		"SerfAdvertiseAddrLAN": "tcp://" + net.JoinHostPort(advertise, strconv.Itoa(c.Ports.SerfLAN)),
		"SerfAdvertiseAddrWAN": "tcp://" + net.JoinHostPort(advertise, strconv.Itoa(c.Ports.SerfWAN)),
		"DNSDomain":            c.Domain, "DNSAltDomain": c.AltDomain, "DNSPort": c.Ports.DNS, "HTTPPort": c.Ports.HTTP, "HTTPSPort": c.Ports.HTTPS,
		"EnableRemoteScriptChecks": c.EnableScriptChecks, "EnableLocalScriptChecks": c.EnableLocalScriptChecks,
		"LogLevel": c.LogLevel, "DefaultQueryTime": c.DefaultQueryTime.String(), "MaxQueryTime": c.MaxQueryTime.String(),
		"ACLsEnabled": c.ACL.Enabled, "LegacyAPI": c.LegacyAPI, "WatchDir": c.WatchDir,
	}
}

// ownNodeID returns the node's UUID: made once, and kept where there is a data folder.
func ownNodeID(dir string) (string, error) {
	if dir == "" {
		return uuid.NewString(), nil
	}
	path := filepath.Join(dir, "node-id")
	b, err := files.ReadKept(path, files.MaxSmall)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data_dir: %w", err)
	}
	if err == nil {
		id := strings.TrimSpace(string(b))
		if _, err := uuid.Parse(id); err != nil {
			return "", fmt.Errorf("%s: %q is not a UUID; remove the file to have one made", path, id)
		}
		return id, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("data_dir: %w", err)
	}
	id := uuid.NewString()
	return id, files.WriteNew(path, []byte(id+"\n"))
}
