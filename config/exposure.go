package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Exposure is something of a configuration that strangers can use. It is no mistake,
// and is told at start, by validate and in agent/self.
type Exposure struct {
	Name    string // a word for programs, such as "http_without_acl"
	Message string // the exposure, and the keys that close it
}

// Exposures lists what the configuration opens to callers beyond this host, ordered
// by name.
func (c *Config) Exposures() []Exposure {
	var out []Exposure
	add := func(name, format string, args ...any) {
		out = append(out, Exposure{name, fmt.Sprintf(format, args...)})
	}
	plain, reachable, dns := c.beyondLoopback("http"), c.reachable(), c.beyondLoopback("dns")
	at := strings.Join(reachable, ", ")
	if len(plain) > 0 {
		add("http_without_tls", "HTTP on %s is not encrypted: tokens and answers can be read on the way; set ports.https with tls.https, and client_addr or addresses.http to a loopback address", strings.Join(plain, ", "))
	}
	if len(reachable) > 0 && !c.aclRefuses() {
		add("http_without_acl", "every host that reaches %s may read all and see all values: set acl { enabled = true }, or listen on a loopback address", at)
	}
	if len(reachable) > 0 && c.anonymousWrites() && !c.writesFromLoopback() {
		add("anonymous_writes", "every host that reaches %s may register, deregister and write keys without a token: set acl { enabled = true preset = \"read-open\" }, or http_config.allow_write_http_from", at)
	}
	if len(reachable) > 0 && c.EnableScriptChecks {
		add("remote_scripts", "a caller of %s that may register a service can run programs here: use enable_local_script_checks in place of enable_script_checks", at)
	}
	if len(dns) > 0 && !c.aclRefuses() {
		add("dns_without_acl", "every host that reaches %s finds all services by DNS: set acl { enabled = true preset = \"strict\" } with acl.tokens.dns, or listen on a loopback address", strings.Join(dns, ", "))
	}
	switch {
	case !c.beyondLoopbackBind() || c.Secured() && !c.InsecureCluster:
	case c.Among():
		add("insecure_cluster", "every host that reaches %s on the ports %d, %d and %d can pose as a server, and change services and keys: let only the servers reach them", c.BindAddr, c.Ports.Server, c.Ports.Quorum, c.Ports.Bus)
	case c.AgentsBind() == c.BindAddr:
		add("insecure_cluster", "every host that reaches %s on the port %d can pose as an agent, and change the services of its node: let only agents reach it", c.BindAddr, c.Ports.Server)
	}
	slices.SortFunc(out, func(a, b Exposure) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// reachable returns the addresses of the API that other hosts can call without a
// certificate.
func (c *Config) reachable() []string {
	plain := c.beyondLoopback("http")
	if c.TLS.HTTPS.VerifyIncoming {
		return plain
	}
	return append(plain, c.beyondLoopback("https")...)
}

// beyondLoopback returns the addresses of a protocol's listeners that other hosts reach.
func (c *Config) beyondLoopback(protocol string) (out []string) {
	if protocol == "https" && c.TLS.HTTPS.CertFile == "" {
		return nil // it is not served
	}
	listeners, err := c.Listeners(protocol)
	if err != nil {
		return nil // another rule reports it
	}
	for _, l := range listeners {
		at, err := netip.ParseAddrPort(l.Address)
		if l.Network != "unix" && (err != nil || !at.Addr().Unmap().IsLoopback()) {
			out = append(out, l.Address)
		}
	}
	return out
}

// aclRefuses reports whether access control is on and refuses anything.
func (c *Config) aclRefuses() bool { return c.ACL.Enabled && !c.ACL.DryRun }

// anonymousWrites reports whether a caller without a token may write.
func (c *Config) anonymousWrites() bool {
	if !c.aclRefuses() {
		return true
	}
	switch c.ACL.Preset {
	case "":
		return c.ACL.DefaultPolicy == "allow"
	case "open":
		return true
	}
	return false
}

// writesFromLoopback reports whether only this host may write.
func (c *Config) writesFromLoopback() bool {
	for _, from := range c.HTTP.AllowWriteHTTPFrom {
		if p, err := netip.ParsePrefix(from); err != nil || !p.Addr().IsLoopback() {
			return false
		}
	}
	return len(c.HTTP.AllowWriteHTTPFrom) > 0
}

// exposure refuses a configuration that lets every stranger run programs on this host.
func (v *validator) exposure() {
	c := v.c
	reachable := c.reachable()
	if !c.EnableScriptChecks || c.AllowExposedScripts || c.aclRefuses() || c.writesFromLoopback() || len(reachable) == 0 {
		return
	}
	v.bad("enable_script_checks: every host that reaches %s could run programs on this host: use enable_local_script_checks in its place, "+
		"set acl.enabled, listen on a loopback address, or set allow_exposed_scripts = true if it must be so", strings.Join(reachable, ", "))
}
