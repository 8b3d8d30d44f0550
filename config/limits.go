package config

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"time"
)

func (v *validator) http() {
	c := v.c
	for i, from := range c.HTTP.AllowWriteHTTPFrom {
		if _, err := netip.ParsePrefix(from); err != nil {
			v.bad("http_config.allow_write_http_from[%d]: %q is not a range such as 10.0.0.0/8", i, from)
		}
	}
	for i, host := range c.HTTP.AllowedHosts {
		if name := strings.TrimPrefix(host, "*."); name == "" || strings.ContainsAny(name, "*/:@ ") {
			v.bad("http_config.allowed_hosts[%d]: %q is no host name such as ui.example.com or *.example.com; leave out scheme and port", i, host)
		}
	}
	for i, p := range c.HTTP.BlockEndpoints {
		if !strings.HasPrefix(p, "/") {
			v.bad("http_config.block_endpoints[%d]: %q: want a path such as /v1/kv", i, p)
		}
	}
	for key, n := range map[string]int{
		"http_config.max_header_bytes":     c.HTTP.MaxHeaderBytes,
		"limits.http_max_conns_per_client": c.Limits.HTTPMaxConnsPerClient,
		"limits.rpc_max_conns_per_client":  c.Limits.RPCMaxConnsPerClient,
		"limits.rpc_max_burst":             c.Limits.RPCMaxBurst,
		"lease.max_owners":                 c.Lease.MaxOwners,
		"lease.max_instances":              c.Lease.MaxInstances,
	} {
		if n < 0 {
			v.bad("%s: %d is negative; 0 means no limit", key, n)
		}
	}
	for key, n := range map[string]int{
		"limits.kv_max_value_size": c.Limits.KVMaxValueSize,
		"limits.txn_max_req_len":   c.Limits.TxnMaxReqLen,
		"check_output_max_size":    c.CheckOutputMaxSize,
	} {
		if n < 1 {
			v.bad("%s: %d: want at least 1", key, n)
		}
	}
}

var tlsVersions = []string{"TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"}

// cipherSuites are the names that Go knows.
var cipherSuites = func() map[string]bool {
	names := map[string]bool{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		names[s.Name] = true
	}
	return names
}()

func (v *validator) tls() {
	c := v.c
	for _, l := range []struct {
		key string
		tls TLSListener
	}{{"tls.defaults", c.TLS.Defaults}, {"tls.https", c.TLS.HTTPS}, {"tls.grpc", c.TLS.GRPC}, {"tls.internal_rpc", c.TLS.InternalRPC}} {
		t := l.tls
		if l.key != "tls.defaults" && t == c.TLS.Defaults {
			continue // it would only say the same again
		}
		v.oneOf(l.key+".tls_min_version", t.TLSMinVersion, tlsVersions...)
		for name := range strings.FieldsFuncSeq(t.TLSCipherSuites, func(r rune) bool { return r == ',' || r == ' ' }) {
			if !cipherSuites[name] {
				v.bad("%s.tls_cipher_suites: there is no cipher suite %q; want Go's names, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", l.key, name)
			}
		}
		if (t.CertFile == "") != (t.KeyFile == "") {
			v.bad("%s: cert_file and key_file belong together; one is missing", l.key)
		}
		if t.VerifyIncoming && t.CAFile == "" && t.CAPath == "" {
			v.bad("%s.verify_incoming: needs ca_file or ca_path, to know whose certificates to take", l.key)
		}
	}
}

func (v *validator) times() {
	c := v.c
	for key, d := range map[string]time.Duration{
		"default_query_time": c.DefaultQueryTime, "max_query_time": c.MaxQueryTime,
		"retry_interval": c.RetryInterval, "retry_interval_wan": c.RetryIntervalWAN,
		"log_rotate_duration": c.LogRotateDuration, "session_ttl_min": c.SessionTTLMin,
		"guard.window": c.Guard.Window, "guard.hold": c.Guard.Hold,
		"lease.min_ttl": c.Lease.MinTTL, "lease.max_ttl": c.Lease.MaxTTL,
	} {
		v.positive(key, d)
	}
	for key, d := range map[string]time.Duration{
		"check_update_interval":               c.CheckUpdateInterval,
		"acl.audit.rotate_duration":           c.ACL.Audit.RotateDuration,
		"performance.leave_drain_time":        c.Performance.LeaveDrainTime,
		"telemetry.prometheus_retention_time": c.Telemetry.PrometheusRetentionTime,
		"http_config.discovery_max_stale":     c.HTTP.DiscoveryMaxStale,
		"limits.https_handshake_timeout":      c.Limits.HTTPSHandshakeTimeout,
		"limits.rpc_handshake_timeout":        c.Limits.RPCHandshakeTimeout,
		"limits.rpc_client_timeout":           c.Limits.RPCClientTimeout,
	} {
		v.notNegative(key, d)
	}
	if c.CanaryInterval != 0 && c.CanaryInterval < time.Second {
		v.bad("canary_interval: %v: want at least 1s, or 0 for none", c.CanaryInterval)
	}
	if c.DefaultQueryTime > c.MaxQueryTime {
		v.bad("default_query_time: %v is more than max_query_time, %v", c.DefaultQueryTime, c.MaxQueryTime)
	}
	if c.Lease.MinTTL > c.Lease.MaxTTL {
		v.bad("lease.min_ttl: %v is more than lease.max_ttl, %v", c.Lease.MinTTL, c.Lease.MaxTTL)
	}
	if c.ReconnectTimeout < 8*time.Hour {
		v.bad("reconnect_timeout: %v: want at least 8h", c.ReconnectTimeout)
	}
	if c.Guard.Least < 1 {
		v.bad("guard.least: %d: want at least 1", c.Guard.Least)
	}
	if c.Guard.Share <= 0 || c.Guard.Share > 1 {
		v.bad("guard.share: %v: want a part of 1, such as 0.5; 1 turns the guard off", c.Guard.Share)
	}
}

func (v *validator) words() {
	c := v.c
	v.oneOf("limits.request_limits.mode", c.Limits.RequestLimits.Mode, "disabled", "permissive", "enforcing")
	v.oneOf("acl.default_policy", c.ACL.DefaultPolicy, "allow", "deny")
	if c.ACL.Preset != "" {
		v.oneOf("acl.preset", c.ACL.Preset, "open", "read-open", "strict")
	}
	for key, n := range map[string]int{"acl.audit.rotate_bytes": c.ACL.Audit.RotateBytes, "acl.audit.rotate_max_files": c.ACL.Audit.RotateMaxFiles} {
		if n < 0 {
			v.bad("%s: %d is negative; 0 means the default", key, n)
		}
	}
	v.oneOf("acl.down_policy", c.ACL.DownPolicy, "extend-cache", "allow", "deny", "async-cache")
}
