package config

import "time"

// Addresses are the addresses of single listeners, as IPs or templates
// separated by spaces. HTTP, HTTPS and the gRPC ones take unix:///path, too.
// Empty ones follow client_addr.
type Addresses struct {
	// DNS is where DNS is answered.
	DNS string `config:"dns,C"`
	// HTTP is where the HTTP API is.
	HTTP string `config:"http,C"`
	// HTTPS is where the HTTP API is with TLS.
	HTTPS string `config:"https,C"`
	// GRPC is where gRPC is.
	GRPC string `config:"grpc,C,later"`
	// GRPCTLS is where gRPC is with TLS.
	GRPCTLS string `config:"grpc_tls,C,later"`
}

// Ports are port numbers; 0 or less turns a listener off.
type Ports struct {
	// DNS is for UDP and TCP.
	DNS int `config:"dns,C"`
	// HTTP is the port of the HTTP API.
	HTTP int `config:"http,C"`
	// HTTPS is its port with TLS.
	HTTPS int `config:"https,C"`
	// GRPC is the port of gRPC; 8502 in dev mode.
	GRPC int `config:"grpc,C,later"`
	// GRPCTLS is its port with TLS; default 8503 on servers, else -1.
	GRPCTLS int `config:"grpc_tls,C,later"`
	// SerfLAN is the port of Consul's gossip, and the default of quorum.
	SerfLAN int `config:"serf_lan,C"`
	// SerfWAN is the port of Consul's gossip between datacenters, and the default of bus.
	SerfWAN int `config:"serf_wan,C"`
	// Server is where servers join each other, and agents attach.
	Server int `config:"server,C"`
	// Quorum is where the members of the quorum store reach each other; default serf_lan.
	Quorum int `config:"quorum,S"`
	// Bus is where servers tell each other of changes; default serf_wan.
	Bus int `config:"bus,S"`
}

// UnixSockets is the ownership of unix sockets that are listened on.
type UnixSockets struct {
	// User is a name or number; default the process's.
	User string `config:"user,U"`
	// Group is a number or name; default the process's.
	Group string `config:"group,U"`
	// Mode is octal; default by the umask.
	Mode string `config:"mode,U"`
}

// DNS is how DNS questions are answered.
type DNS struct {
	// NodeTTL is the TTL of answers about nodes.
	NodeTTL time.Duration `config:"node_ttl,C"`
	// ServiceTTL is the TTL of answers about services: a name, "prefix*" or "*".
	ServiceTTL map[string]time.Duration `config:"service_ttl,C"`
	// AllowStale is accepted: answers always come from the local catalog.
	AllowStale bool `config:"allow_stale,C"`
	// MaxStale is how old an answer may be.
	MaxStale time.Duration `config:"max_stale,C"`
	// OnlyPassing leaves out instances with a warning.
	OnlyPassing bool `config:"only_passing,C"`
	// EnableTruncate sets the TC flag on UDP answers that lack records.
	EnableTruncate bool `config:"enable_truncate,C"`
	// DisableCompression writes every name in full.
	DisableCompression bool `config:"disable_compression,C"`
	// EnableAdditionalNodeMetaTXT adds node metadata as TXT to answers.
	EnableAdditionalNodeMetaTXT bool `config:"enable_additional_node_meta_txt,C"`
	// ARecordLimit is the most A or AAAA records of an answer; 0 means no limit.
	ARecordLimit int `config:"a_record_limit,C"`
	// UDPAnswerLimit is the most records of a UDP answer without EDNS.
	UDPAnswerLimit int `config:"udp_answer_limit,C"`
	// RecursorStrategy is the order of recursors: sequential or random.
	RecursorStrategy string `config:"recursor_strategy,C"`
	// RecursorTimeout is for one try of one recursor.
	RecursorTimeout time.Duration `config:"recursor_timeout,C"`
	// UseCache is accepted: answers always come from memory.
	UseCache bool `config:"use_cache,C"`
	// CacheMaxAge is accepted with it.
	CacheMaxAge time.Duration `config:"cache_max_age,C"`
	// SOA holds the timers of the SOA record.
	SOA SOA `config:"soa,C"`
	// UDPMax is the most bytes of a UDP answer to a client beyond loopback without a valid cookie, from 512 to 65535; more is cut and has the TC flag.
	UDPMax int `config:"udp_max,S"`
	// RateLimit bounds the UDP answers to one network.
	RateLimit DNSRateLimit `config:"rate_limit,S"`
}

// DNSRateLimit bounds the answers over UDP to one network (a /24, or a /56 of IPv6),
// which a forger of addresses could flood through the agent. Loopback, TCP and clients
// with a valid cookie are not limited.
type DNSRateLimit struct {
	// ResponsesPerSecond is the most answers of each kind (records, nothing found, errors, those of recursors) to a network; -1 means no limit.
	ResponsesPerSecond int `config:"responses_per_second,S"`
	// Slip is every how many-th answer over the limit is sent truncated, so that a real client asks again by TCP; the others are dropped. -1 means all are dropped.
	Slip int `config:"slip,S"`
	// Exempt are CIDR ranges of clients that are not limited.
	Exempt []string `config:"exempt,S"`
}

// SOA holds the timers of the zone's SOA record, in seconds.
type SOA struct {
	// Refresh is how often secondaries ask.
	Refresh int `config:"refresh,C"`
	// Retry is the pause after a failure of that.
	Retry int `config:"retry,C"`
	// Expire is after which time secondaries forget the zone.
	Expire int `config:"expire,C"`
	// MinTTL is how long a resolver may remember that a name is not there.
	MinTTL int `config:"min_ttl,C"`
}

// HTTP is how HTTP requests are taken.
type HTTP struct {
	// BlockEndpoints are path prefixes that answer 403.
	BlockEndpoints []string `config:"block_endpoints,U,reload"`
	// ResponseHeaders are added to every answer.
	ResponseHeaders map[string]string `config:"response_headers,U,reload"`
	// AllowWriteHTTPFrom are CIDR ranges; others may only read. Empty: everyone may write.
	AllowWriteHTTPFrom []string `config:"allow_write_http_from,U,reload"`
	// AllowedHosts are host names by which browsers may call the agent, and whose pages may change something; "*.example.com" is all names below it. Addresses, localhost, the node's name, names of the DNS zone and of the certificate need not be named.
	AllowedHosts []string `config:"allowed_hosts,S,reload"`
	// MaxHeaderBytes is the most bytes of request headers; 0 means 128 KiB.
	MaxHeaderBytes int `config:"max_header_bytes,U"`
	// UseCache allows ?cached; without it the parameter is ignored.
	UseCache bool `config:"use_cache,U,reload"`
	// DiscoveryMaxStale makes reads of catalog and health stale by default when above 0. Nothing is stale on one node: the answer only says so.
	DiscoveryMaxStale time.Duration `config:"discovery_max_stale,U,reload"`
}

// Limits protect the agent. Rates are requests per second; -1 means no limit.
type Limits struct {
	// HTTPMaxConnsPerClient is the most connections of one IP; 0 means no limit.
	HTTPMaxConnsPerClient int `config:"http_max_conns_per_client,C"`
	// HTTPSHandshakeTimeout is the longest a TLS handshake may take.
	HTTPSHandshakeTimeout time.Duration `config:"https_handshake_timeout,U"`
	// RPCRate is how many requests this agent sends to servers.
	RPCRate float64 `config:"rpc_rate,C,later"`
	// RPCMaxBurst is how many of these may come at once.
	RPCMaxBurst int `config:"rpc_max_burst,C,later"`
	// RPCMaxConnsPerClient is the most connections of one agent to a server.
	RPCMaxConnsPerClient int `config:"rpc_max_conns_per_client,U,later"`
	// RPCHandshakeTimeout is the longest a handshake with a server may take.
	RPCHandshakeTimeout time.Duration `config:"rpc_handshake_timeout,U,later"`
	// RPCClientTimeout is the longest a request to a server may take, apart from its wait.
	RPCClientTimeout time.Duration `config:"rpc_client_timeout,U,later"`
	// KVMaxValueSize is the most bytes of a value in the key-value store.
	KVMaxValueSize int `config:"kv_max_value_size,C,reload"`
	// TxnMaxReqLen is the most bytes of a transaction.
	TxnMaxReqLen int `config:"txn_max_req_len,C,reload"`
	// RequestLimits are for all requests together.
	RequestLimits RequestLimits `config:"request_limits,C"`
}

// RequestLimits bound the requests of all callers together.
type RequestLimits struct {
	// Mode is disabled, permissive (log only) or enforcing.
	Mode string `config:"mode,C"`
	// ReadRate is for reads.
	ReadRate float64 `config:"read_rate,C"`
	// WriteRate is for writes.
	WriteRate float64 `config:"write_rate,C"`
}

// UI is the web interface.
type UI struct {
	// Enabled turns it on; it is on in dev mode.
	Enabled bool `config:"enabled,C"`
	// ContentPath is the path it is served under.
	ContentPath string `config:"content_path,C"`
}

// Telemetry is which metrics are shown and how.
type Telemetry struct {
	// PrometheusRetentionTime is how long Prometheus metrics are kept; 0 hides them in Consul.
	PrometheusRetentionTime time.Duration `config:"prometheus_retention_time,C"`
	// DisableHostname leaves the host's name out of metric names.
	DisableHostname bool `config:"disable_hostname,C"`
	// MetricsPrefix begins every metric name.
	MetricsPrefix string `config:"metrics_prefix,C"`
	// PrefixFilter shows ("+prefix") or hides ("-prefix") metrics: the longest prefix decides. Write "-http", "-skerry_http" or, as for Consul, "-consul.http".
	PrefixFilter []string `config:"prefix_filter,C,reload"`
	// FilterDefault shows the metrics that prefix_filter does not name.
	FilterDefault bool `config:"filter_default,U,reload"`
	// StatsdAddress is host:port of a statsd server.
	StatsdAddress string `config:"statsd_address,U,later"`
	// StatsiteAddress is host:port of a statsite server.
	StatsiteAddress string `config:"statsite_address,U,later"`
	// DogstatsdAddr is host:port of a DogStatsD server.
	DogstatsdAddr string `config:"dogstatsd_addr,U,later"`
	// DogstatsdTags are added to every metric sent there.
	DogstatsdTags []string `config:"dogstatsd_tags,U,later"`
}

// Autopilot looks after the set of servers. It has the values that the first leader of a
// cluster decides; the operator changes them later.
type Autopilot struct {
	// CleanupDeadServers lets a new server take the vote of one that is gone for 10 minutes.
	CleanupDeadServers bool `config:"cleanup_dead_servers,C"`
	// LastContactThreshold is the longest silence of a healthy server.
	LastContactThreshold time.Duration `config:"last_contact_threshold,C,later"`
	// MaxTrailingLogs is how many entries a healthy server may be behind.
	MaxTrailingLogs int `config:"max_trailing_logs,C,later"`
	// MinQuorum is how many servers cleanup leaves.
	MinQuorum int `config:"min_quorum,U"`
	// ServerStabilizationTime is how long a new server must be there before it gets a vote.
	ServerStabilizationTime time.Duration `config:"server_stabilization_time,C"`
}

// Performance is the part of Consul's timing that has a meaning here.
type Performance struct {
	// LeaveDrainTime is how long a leaving agent goes on answering.
	LeaveDrainTime time.Duration `config:"leave_drain_time,C"`
}

// Guard holds owners that expire all at once: that many do not die together.
type Guard struct {
	// Share is the part of a service's owners that may expire at once before they are held; 1 turns the guard off.
	Share float64 `config:"share,S"`
	// Least is how many must expire at least.
	Least int `config:"least,S"`
	// Window is the time in which they are counted.
	Window time.Duration `config:"window,S"`
	// Hold is the longest time that one is held.
	Hold time.Duration `config:"hold,S"`
}

// Lease bounds the announcements of programs without an agent.
type Lease struct {
	// MinTTL is the shortest TTL of a lease.
	MinTTL time.Duration `config:"min_ttl,S"`
	// MaxTTL is the longest.
	MaxTTL time.Duration `config:"max_ttl,S"`
	// MaxOwners is the most leases at once; 0 means no limit.
	MaxOwners int `config:"max_owners,S"`
	// MaxInstances is the most instances of one lease; 0 means no limit.
	MaxInstances int `config:"max_instances,S"`
}
