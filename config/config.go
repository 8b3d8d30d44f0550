// Package config reads the operator's configuration: Consul-compatible HCL and JSON
// files, fragments and flags, brought together into one [Config].
//
// [Load] merges the sources, reports every mistake at once, and warns of keys
// that Consul knows and that have no effect here. README.md has every key.
package config

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Config is the effective configuration: defaults, then every source in its order, then
// the values that follow from other keys. Field tags name the key, its class (C core, U
// useful, S Skerry's own) and what applies to it: "reload" for keys that a reload can
// change, "later" for those that are kept without effect yet.
type Config struct {
	// Datacenter is the name of this datacenter: letters, digits, - and _.
	Datacenter string `config:"datacenter,C"`
	// PrimaryDatacenter is where tokens and policies are decided; default this one.
	PrimaryDatacenter string `config:"primary_datacenter,C"`
	// NodeName is this node's name, unique in the datacenter; default the host's name.
	NodeName string `config:"node_name,C"`
	// NodeID is a UUID; default one that is made once and kept in the data directory.
	NodeID string `config:"node_id,C"`
	// NodeMeta is metadata of this node, at most 64 pairs.
	NodeMeta map[string]string `config:"node_meta,C"`
	// Locality is where the node stands: region and zone.
	Locality skerry.Locality `config:"locality,U"`

	// DataDir is the folder for state that outlives a restart; needed unless in dev mode.
	DataDir string `config:"data_dir,C"`
	// WatchDir is a folder whose service files (1 MiB each, 1,024 files, 64 MiB together; regular files and links to such) are registered while they are there; default none.
	WatchDir string `config:"watch_dir,S"`
	// Server makes this agent a server.
	Server bool `config:"server,C"`
	// Bootstrap lets this server start a cluster alone.
	Bootstrap bool `config:"bootstrap,C"`
	// BootstrapExpect is how many servers must be there before a cluster starts; 0 means one that exists is joined.
	BootstrapExpect int `config:"bootstrap_expect,C"`
	// Dev is set by [Source].Dev, not by a key: everything in one process, nothing kept.
	Dev bool

	// BindAddr is the address for traffic between agents: an IP or a go-sockaddr template.
	BindAddr string `config:"bind_addr,C"`
	// ClientAddr is where HTTP, DNS and gRPC listen: IPs, separated by spaces, or a template.
	ClientAddr string `config:"client_addr,C"`
	// AdvertiseAddr is the address for others; default by [Config.Advertise].
	AdvertiseAddr string `config:"advertise_addr,C"`
	// AdvertiseAddrIPv4 is the IPv4 address among the node's tagged addresses.
	AdvertiseAddrIPv4 string `config:"advertise_addr_ipv4,C"`
	// AdvertiseAddrIPv6 is the IPv6 address among the node's tagged addresses.
	AdvertiseAddrIPv6 string `config:"advertise_addr_ipv6,C"`
	// AdvertiseAddrWAN is the address for other datacenters; default advertise_addr.
	AdvertiseAddrWAN string `config:"advertise_addr_wan,C"`
	// AdvertiseAddrWANIPv4 is the IPv4 form of it.
	AdvertiseAddrWANIPv4 string `config:"advertise_addr_wan_ipv4,C"`
	// AdvertiseAddrWANIPv6 is the IPv6 form of it.
	AdvertiseAddrWANIPv6 string `config:"advertise_addr_wan_ipv6,C"`
	// TranslateWANAddrs answers callers of other datacenters with WAN addresses.
	TranslateWANAddrs bool `config:"translate_wan_addrs,C,later"`
	// Addresses are where single protocols listen instead of client_addr.
	Addresses Addresses `config:"addresses,C"`
	// Ports are the ports of all listeners; -1 turns one off.
	Ports Ports `config:"ports,C"`
	// UnixSockets sets the owner and the mode of sockets named unix:///path.
	UnixSockets UnixSockets `config:"unix_sockets,U"`

	// RetryJoin are the addresses of servers that a server joins, or that an agent attaches to, each a host or host:port of ports.server; all are tried, again and again.
	RetryJoin []string `config:"retry_join,C,later"`
	// RetryInterval is the pause between tries to join after the first minute; in that a server tries each second.
	RetryInterval time.Duration `config:"retry_interval,C"`
	// RetryMaxAttempts is after how many tries the agent gives up; 0 means never.
	RetryMaxAttempts int `config:"retry_max,C,later"`
	// RetryJoinWAN are addresses of servers in other datacenters, each a host or host:port of ports.server; one that answers is enough, since servers tell each other of the rest.
	RetryJoinWAN []string `config:"retry_join_wan,C"`
	// RetryIntervalWAN is the pause between tries to join other datacenters after the first minute; in that a server tries each second.
	RetryIntervalWAN time.Duration `config:"retry_interval_wan,U"`
	// RetryMaxAttemptsWAN is after how many of these tries the agent gives up; 0 means never.
	RetryMaxAttemptsWAN int `config:"retry_max_wan,U,later"`
	// RejoinAfterLeave is accepted: a single node has no cluster to join again.
	RejoinAfterLeave bool `config:"rejoin_after_leave,U"`
	// LeaveOnTerminate is accepted: a single node has no cluster to leave on SIGTERM. Default true for agents, false for servers.
	LeaveOnTerminate bool `config:"leave_on_terminate,C"`
	// SkipLeaveOnInterrupt is accepted: a single node has none to leave on SIGINT. Default false for agents, true for servers.
	SkipLeaveOnInterrupt bool `config:"skip_leave_on_interrupt,C"`
	// Encrypt is Consul's gossip key. There is no gossip here; the bus has TLS.
	Encrypt string `config:"encrypt,C,later"`

	// Domain is the DNS zone that is answered.
	Domain string `config:"domain,C,reload"`
	// AltDomain is a second name of the zone.
	AltDomain string `config:"alt_domain,C,reload"`
	// DNS is how DNS questions are answered.
	DNS DNS `config:"dns_config,C,reload"`
	// Recursors answer questions outside the zone: IPs with or without port, or
	// templates.
	Recursors []string `config:"recursors,C,reload"`

	// Services are registered on this node for as long as they are written here.
	Services []skerry.Registration `config:"services,C,reload"`
	// Checks are checks of this node, or of a service by its service_id.
	Checks []skerry.CheckDefinition `config:"checks,C,reload"`
	// Watches are queries of the agent's own HTTP API whose changes run a program (args) or call a URL (http_handler_config).
	Watches []Watch `config:"watches,C,reload"`

	// EnableScriptChecks allows checks that run programs, also from the API.
	EnableScriptChecks bool `config:"enable_script_checks,C"`
	// AllowExposedScripts lets the agent start with enable_script_checks where other hosts reach the API and nothing asks for a token.
	AllowExposedScripts bool `config:"allow_exposed_scripts,S"`
	// EnableLocalScriptChecks allows them in configuration files only.
	EnableLocalScriptChecks bool `config:"enable_local_script_checks,C"`
	// DiscardCheckOutput keeps no output of checks.
	DiscardCheckOutput bool `config:"discard_check_output,C"`
	// CheckOutputMaxSize is the most output that is kept of a check, in bytes.
	CheckOutputMaxSize int `config:"check_output_max_size,U"`
	// CheckUpdateInterval is how long a change of a check's output alone may wait until the catalog shows it; in Consul the default is 5m.
	CheckUpdateInterval time.Duration `config:"check_update_interval,C"`

	// LogLevel is the least level that is logged: trace, debug, info, warn or error.
	LogLevel string `config:"log_level,C,reload"`
	// LogJSON logs lines of JSON.
	LogJSON bool `config:"log_json,C"`
	// LogFile is a file, or a folder when it ends in a slash, that is logged to as well.
	LogFile string `config:"log_file,C"`
	// LogRotateDuration is the longest time that one log file is written to.
	LogRotateDuration time.Duration `config:"log_rotate_duration,C"`
	// LogRotateBytes is the most bytes of one log file; 0 means no limit.
	LogRotateBytes int `config:"log_rotate_bytes,C"`
	// LogRotateMaxFiles is how many old log files are kept; 0 means all, -1 none.
	LogRotateMaxFiles int `config:"log_rotate_max_files,C"`
	// EnableSyslog logs to syslog as well.
	EnableSyslog bool `config:"enable_syslog,U,later"`
	// SyslogFacility is the facility of these lines.
	SyslogFacility string `config:"syslog_facility,U,later"`

	// DefaultQueryTime is how long a blocking query waits that names no time.
	DefaultQueryTime time.Duration `config:"default_query_time,C,reload"`
	// MaxQueryTime is the longest that a blocking query waits.
	MaxQueryTime time.Duration `config:"max_query_time,C,reload"`
	// SessionTTLMin is the shortest TTL of a session.
	SessionTTLMin time.Duration `config:"session_ttl_min,C"`
	// ReconnectTimeout is after which time a lost node is forgotten; at least 8 h.
	ReconnectTimeout time.Duration `config:"reconnect_timeout,C,later"`
	// LegacyAPI allows requests that Consul has removed: GET for changes (check/pass,
	// warn, fail and deregister, service/deregister, join, force-leave), and script of
	// checks, in the API and in files.
	LegacyAPI bool `config:"legacy_api,S,reload"`
	// EnableDebug opens the profiling endpoints.
	EnableDebug bool `config:"enable_debug,C"`
	// DisableUpdateCheck is accepted: Skerry never asks for updates.
	DisableUpdateCheck bool `config:"disable_update_check,C"`
	// DisableRemoteExec is accepted: there is no remote execution here.
	DisableRemoteExec bool `config:"disable_remote_exec,C"`
	// PidFile is where the process id is written; default nowhere.
	PidFile string `config:"pid_file,U"`

	// HTTP is how HTTP requests are taken.
	HTTP HTTP `config:"http_config,C"`
	// Limits protect the agent from too many or too large requests.
	Limits Limits `config:"limits,C"`
	// UI is the web interface.
	UI UI `config:"ui_config,C,later"`
	// Telemetry is which metrics are shown and how.
	Telemetry Telemetry `config:"telemetry,C"`
	// TLS is the TLS of all listeners.
	TLS TLS `config:"tls,C"`
	// ACL is access control.
	ACL ACL `config:"acl,C"`
	// Autopilot looks after the set of servers.
	Autopilot Autopilot `config:"autopilot,C"`
	// Performance is the part of Consul's timing that has a meaning here.
	Performance Performance `config:"performance,C,later"`

	// Voting lets this server have a vote in the quorum store. false makes it a read server: it has the whole catalog and all keys, and never a vote.
	Voting bool `config:"voting,S"`
	// JoinTokenFile is the file with the join token of this process: its connections with other processes are encrypted, and both sides show certificates. It is needed until the process has joined; keep the key set then.
	JoinTokenFile string `config:"join_token_file,S"`
	// InsecureCluster lets servers and agents speak to each other without encryption beyond loopback addresses. Beside a certificate they take both, while a cluster is moved to TLS.
	InsecureCluster bool `config:"insecure_cluster,S"`
	// Bus is an outside NATS.
	Bus Bus `config:"bus,S"`
	// Quorum is the quorum store.
	Quorum Quorum `config:"quorum,S"`
	// CanaryInterval is the time between two changes that a server makes to time their way to other servers and agents; no catalog shows them. 0 makes none.
	CanaryInterval time.Duration `config:"canary_interval,S"`
	// Guard holds owners that fall silent all at once.
	Guard Guard `config:"guard,S"`
	// Lease bounds the announcements of programs without an agent.
	Lease Lease `config:"lease,S"`

	set map[string]bool // the paths that a source named
}

// Watch is one watch as it was written: type, handler or args, and the
// parameters of the type. Lists are []any, objects map[string]any.
type Watch map[string]any

// IsSet reports whether a source named the key, by its path ("dns_config.node_ttl").
func (c *Config) IsSet(path string) bool { return c.set[path] }
