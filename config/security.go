package config

import "time"

// TLS is the TLS of all listeners. A key that HTTPS, GRPC or InternalRPC does not
// name is taken from Defaults.
type TLS struct {
	// Defaults are for the listeners that do not name their own.
	Defaults TLSListener `config:"defaults,C"`
	// HTTPS is for the HTTPS API.
	HTTPS TLSListener `config:"https,C"`
	// GRPC is for gRPC with TLS.
	GRPC TLSListener `config:"grpc,C,later"`
	// InternalRPC is for traffic between agents.
	InternalRPC TLSListener `config:"internal_rpc,C,later"`
	// Internal are the certificates of connections with other processes of the cluster, of an authority of your own in place of join tokens.
	Internal TLSInternal `config:"internal,S"`
	// NodeTTL is how long the certificates that this server gives to processes of the cluster are valid; they are renewed after two thirds of it.
	NodeTTL time.Duration `config:"node_ttl,S"`
}

// TLSInternal is what a process shows to other processes of the cluster, in PEM files. The certificate has one URI,
// skerry://DATACENTER/server/NODE or …/agent/NODE, and that of a server the DNS name server.DATACENTER.skerry. The files are
// read again every minute.
type TLSInternal struct {
	// CAFile has the authorities that are trusted.
	CAFile string `config:"ca_file,S"`
	// CertFile has the certificate of this process, and those that lead from it to an authority.
	CertFile string `config:"cert_file,S"`
	// KeyFile has its private key.
	KeyFile string `config:"key_file,S"`
}

// TLSListener is the TLS of one listener.
type TLSListener struct {
	// CAFile is a PEM file of the authorities that callers' certificates must come from.
	CAFile string `config:"ca_file,C"`
	// CAPath is a folder of such files.
	CAPath string `config:"ca_path,C"`
	// CertFile is the PEM file of the certificate.
	CertFile string `config:"cert_file,C"`
	// KeyFile is the PEM file of its key.
	KeyFile string `config:"key_file,C"`
	// VerifyIncoming asks callers for a certificate.
	VerifyIncoming bool `config:"verify_incoming,C"`
	// VerifyOutgoing checks the certificates of those that are called.
	VerifyOutgoing bool `config:"verify_outgoing,C,later"`
	// VerifyServerHostname checks that these are servers of the datacenter.
	VerifyServerHostname bool `config:"verify_server_hostname,C,later"`
	// TLSMinVersion is the oldest version that is spoken: TLSv1_0, TLSv1_1, TLSv1_2 or TLSv1_3.
	TLSMinVersion string `config:"tls_min_version,C"`
	// TLSCipherSuites are Go's names of those allowed, separated by commas; default Go's choice. Those of TLS 1.3 cannot be chosen.
	TLSCipherSuites string `config:"tls_cipher_suites,U"`
}

// ACL is access control.
type ACL struct {
	// Enabled turns it on.
	Enabled bool `config:"enabled,C"`
	// DefaultPolicy is the access to names without a rule: allow or deny.
	DefaultPolicy string `config:"default_policy,C"`
	// DownPolicy is for tokens at an agent while no server answers: extend-cache (the last answer, however old), async-cache, allow or deny. Servers decide from their own copies.
	DownPolicy string `config:"down_policy,C"`
	// Preset is access without a token in one word: open (default_policy = "allow"),
	// read-open (callers without a rule may find services, and write nothing) or strict
	// ("deny"). It wins over default_policy.
	Preset string `config:"preset,S"`
	// DryRun refuses nothing and logs the requests that would be refused; it needs
	// enabled.
	DryRun bool `config:"dry_run,S"`
	// Audit is the audit log; it needs enabled.
	Audit Audit `config:"audit,S"`
	// TokenTTL is how long a token is remembered: a change is seen at once by servers, and within a second by agents.
	TokenTTL time.Duration `config:"token_ttl,C"`
	// PolicyTTL is how long a policy is remembered: likewise.
	PolicyTTL time.Duration `config:"policy_ttl,C"`
	// RoleTTL is how long a role is remembered: likewise.
	RoleTTL time.Duration `config:"role_ttl,C"`
	// EnableTokenPersistence keeps tokens that the API set.
	EnableTokenPersistence bool `config:"enable_token_persistence,C"`
	// EnableTokenReplication copies tokens from the primary datacenter, not only policies and roles, and allows local tokens here.
	EnableTokenReplication bool `config:"enable_token_replication,C"`
	// EnableKeyListPolicy makes "list" a permission of its own for keys.
	EnableKeyListPolicy bool `config:"enable_key_list_policy,U"`
	// Tokens are what this agent acts with.
	Tokens Tokens `config:"tokens,C"`
}

// Audit is the audit log: a JSON line for each request, with identity, address and
// result.
type Audit struct {
	// Path is its file; empty: there is none.
	Path string `config:"path,S"`
	// Reads notes allowed reads too, not only writes and refusals.
	Reads bool `config:"reads,S"`
	// RotateBytes is the size in bytes at which a new file is begun, in whole MiB; default 100 MiB.
	RotateBytes int `config:"rotate_bytes,S"`
	// RotateDuration is how long one file is written, from the start of the process or the last new file on; default without limit.
	RotateDuration time.Duration `config:"rotate_duration,S"`
	// RotateMaxFiles is how many old files are kept; default 10.
	RotateMaxFiles int `config:"rotate_max_files,S"`
}

// Tokens are the secrets that an agent acts with.
type Tokens struct {
	// InitialManagement is the first token with every permission.
	InitialManagement string `config:"initial_management,C"`
	// Default is for callers that bring none.
	Default string `config:"default,C"`
	// Agent is for the agent's own requests: servers take an agent whose token may write its node. Default that of Default.
	Agent string `config:"agent,C"`
	// AgentRecovery works at this agent alone, without any server.
	AgentRecovery string `config:"agent_recovery,C"`
	// Replication is for copying from the primary datacenter without TLS: it may read acl there, and write it to copy tokens.
	Replication string `config:"replication,C"`
	// ConfigFileRegistration is what servers judge services of files by that name no token; default that of Default.
	ConfigFileRegistration string `config:"config_file_service_registration,U"`
	// DNS is for answering DNS.
	DNS string `config:"dns,U"`
}
