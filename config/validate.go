package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/skerryhq/skerry"
)

// Validate reports the settings that cannot work. It reports everything in one joined
// error, whose parts are of kind [skerry.Invalid] and name the key and the fix. It looks
// at no file and no network.
func (c *Config) Validate() error {
	v := &validator{c: c}
	v.node()
	v.role()
	v.addresses()
	v.listeners()
	v.logs()
	v.dns()
	v.http()
	v.exposure()
	v.tls()
	v.quorum()
	v.cluster()
	v.times()
	v.words()
	v.definitions()
	v.watches()
	slices.SortStableFunc(v.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(v.errs...)
}

type validator struct {
	c    *Config
	errs []error
}

func (v *validator) bad(format string, args ...any) {
	v.errs = append(v.errs, skerry.Errorf(skerry.Invalid, format, args...))
}

var (
	datacenterName = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
	uuid           = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	metaKey        = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	domainName     = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)+$`)
)

func (v *validator) node() {
	c := v.c
	if !datacenterName.MatchString(c.Datacenter) {
		v.bad("datacenter: %q: want 1 to 63 letters, digits, - or _", c.Datacenter)
	}
	if c.NodeName == "" {
		v.bad("node_name: is empty and this host has no name; set it")
	}
	if len(c.NodeName) > 253 || strings.ContainsFunc(c.NodeName, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' || r == unicode.ReplacementChar
	}) {
		v.bad("node_name: %q: want at most 253 characters without spaces, control characters and slashes", c.NodeName)
	}
	if c.NodeID != "" && !uuid.MatchString(c.NodeID) {
		v.bad("node_id: %q: want a UUID, or leave it out to have one made", c.NodeID)
	}
	if len(c.NodeMeta) > 64 {
		v.bad("node_meta: has %d pairs; want at most 64", len(c.NodeMeta))
	}
	for _, k := range sortedKeys(c.NodeMeta) {
		switch {
		case !metaKey.MatchString(k):
			v.bad("node_meta: key %q: want 1 to 128 letters, digits, - or _", k)
		case strings.HasPrefix(k, "consul-"):
			v.bad("node_meta: key %q: keys that begin with consul- are reserved", k)
		case len(c.NodeMeta[k]) > 512:
			v.bad("node_meta.%s: has %d bytes; want at most 512", k, len(c.NodeMeta[k]))
		}
	}
}

func (v *validator) role() {
	c := v.c
	if c.DataDir == "" && !c.Dev {
		v.bad("data_dir: is needed to keep registrations over a restart; set it, or use -dev")
	}
	if c.Bootstrap && !c.Server {
		v.bad("bootstrap: only a server can; set server = true")
	}
	if c.BootstrapExpect != 0 && !c.Server {
		v.bad("bootstrap_expect: only a server can; set server = true")
	}
	if c.BootstrapExpect < 0 {
		v.bad("bootstrap_expect: %d is negative; want the number of servers", c.BootstrapExpect)
	}
	if c.Bootstrap && c.BootstrapExpect > 1 {
		v.bad("bootstrap: stands for bootstrap_expect = 1, but that is %d; take one of them out", c.BootstrapExpect)
	}
}

func (v *validator) addresses() {
	c := v.c
	if _, err := netip.ParseAddr(strings.Trim(c.BindAddr, "[]")); err != nil {
		v.bad("bind_addr: %q is not an IP address; want one address, or a template that gives one", c.BindAddr)
	}
	for _, a := range []struct {
		key, addr string
		family    int
	}{
		{"advertise_addr", c.AdvertiseAddr, 0},
		{"advertise_addr_ipv4", c.AdvertiseAddrIPv4, 4},
		{"advertise_addr_ipv6", c.AdvertiseAddrIPv6, 6},
		{"advertise_addr_wan", c.AdvertiseAddrWAN, 0},
		{"advertise_addr_wan_ipv4", c.AdvertiseAddrWANIPv4, 4},
		{"advertise_addr_wan_ipv6", c.AdvertiseAddrWANIPv6, 6},
	} {
		if a.addr == "" {
			continue
		}
		ip, err := netip.ParseAddr(a.addr)
		switch {
		case err != nil:
			v.bad("%s: %q is not an IP address", a.key, a.addr)
		case ip.IsUnspecified():
			v.bad("%s: %s cannot be reached by others; set an address of this host", a.key, a.addr)
		case a.family == 4 && !ip.Is4(), a.family == 6 && !ip.Is6():
			v.bad("%s: %s is not an IPv%d address", a.key, a.addr, a.family)
		}
	}
}

func (v *validator) listeners() {
	c := v.c
	for _, p := range []struct {
		key  string
		port int
	}{
		{"dns", c.Ports.DNS}, {"http", c.Ports.HTTP}, {"https", c.Ports.HTTPS}, {"grpc", c.Ports.GRPC},
		{"grpc_tls", c.Ports.GRPCTLS}, {"serf_lan", c.Ports.SerfLAN}, {"serf_wan", c.Ports.SerfWAN}, {"server", c.Ports.Server},
		{"quorum", c.Ports.Quorum}, {"bus", c.Ports.Bus},
	} {
		if p.port < -1 || p.port > 65535 {
			v.bad("ports.%s: %d: want 1 to 65535, or -1 to turn it off", p.key, p.port)
		}
	}
	if m := c.UnixSockets.Mode; m != "" {
		if _, err := strconv.ParseUint(m, 8, 12); err != nil {
			v.bad("unix_sockets.mode: %q: want octal permissions such as \"0660\"", m)
		}
	}
	taken := map[Listener]string{}
	badClient := false
	for _, protocol := range []string{"dns", "http", "https", "grpc", "grpc_tls"} {
		ls, err := c.Listeners(protocol)
		if err != nil {
			// All protocols that follow a bad client_addr would say so again.
			if client := strings.HasPrefix(err.Error(), "client_addr"); !client || !badClient {
				v.errs = append(v.errs, err)
				badClient = badClient || client
			}
			continue
		}
		for _, l := range ls {
			if other, ok := taken[l]; ok && other != protocol {
				v.bad("ports.%s: %s is taken by ports.%s already; set another", protocol, l.Address, other)
			}
			taken[l] = protocol
		}
	}
}

func (v *validator) logs() {
	c := v.c
	v.oneOf("log_level", strings.ToLower(c.LogLevel), "trace", "debug", "info", "warn", "error", "err")
	if c.LogRotateBytes < 0 {
		v.bad("log_rotate_bytes: %d is negative; 0 means no limit", c.LogRotateBytes)
	}
	if c.LogRotateMaxFiles < -1 {
		v.bad("log_rotate_max_files: %d: want a number, 0 for all, -1 for none", c.LogRotateMaxFiles)
	}
	for _, f := range c.Telemetry.PrefixFilter {
		if len(f) < 2 || f[0] != '+' && f[0] != '-' {
			v.bad("telemetry.prefix_filter: %q: want \"+prefix\" or \"-prefix\"", f)
		}
	}
}

func (v *validator) oneOf(key, got string, want ...string) {
	for _, w := range want {
		if got == w {
			return
		}
	}
	v.bad("%s: %q: want one of %s", key, got, strings.Join(want, ", "))
}

func (v *validator) dns() {
	c := v.c
	if !domainName.MatchString(c.Domain) {
		v.bad("domain: %q is not a domain name", c.Domain)
	}
	if c.AltDomain != "" && !domainName.MatchString(c.AltDomain) {
		v.bad("alt_domain: %q is not a domain name", c.AltDomain)
	}
	for i, r := range c.Recursors {
		host := r
		if h, _, err := net.SplitHostPort(r); err == nil {
			host = h
		}
		switch ip, err := netip.ParseAddr(strings.Trim(host, "[]")); {
		case err != nil:
			v.bad("recursors[%d]: %q is not an IP address with or without a port", i, r)
		case ip.Unmap().IsUnspecified():
			v.bad("recursors[%d]: %q is this host, not a server: want the address that a server listens on", i, r)
		}
	}
	v.oneOf("dns_config.recursor_strategy", c.DNS.RecursorStrategy, "sequential", "random")
	if c.DNS.ARecordLimit < 0 || c.DNS.UDPAnswerLimit < 0 {
		v.bad("dns_config: a_record_limit and udp_answer_limit must not be negative")
	}
	if s := c.DNS.SOA; min(s.Refresh, s.Retry, s.Expire, s.MinTTL) < 0 || max(s.Refresh, s.Retry, s.Expire, s.MinTTL) > 1<<31-1 {
		v.bad("dns_config.soa: timers are seconds from 0 to %d", 1<<31-1)
	}
	for _, name := range sortedKeys(c.DNS.ServiceTTL) {
		v.notNegative("dns_config.service_ttl."+name, c.DNS.ServiceTTL[name])
	}
	v.notNegative("dns_config.node_ttl", c.DNS.NodeTTL)
	v.notNegative("dns_config.max_stale", c.DNS.MaxStale)
	v.notNegative("dns_config.recursor_timeout", c.DNS.RecursorTimeout)
	v.dnsLimits()
}

// dnsLimits checks the bounds of answers over UDP.
func (v *validator) dnsLimits() {
	d := v.c.DNS
	if d.UDPMax < 512 || d.UDPMax > 65535 {
		v.bad("dns_config.udp_max: %d: want 512 to 65535 bytes", d.UDPMax)
	}
	if n := d.RateLimit.ResponsesPerSecond; n != -1 && (n < 1 || n > 1_000_000) {
		v.bad("dns_config.rate_limit.responses_per_second: %d: want 1 to 1000000, or -1 for no limit", n)
	}
	if n := d.RateLimit.Slip; n != -1 && (n < 1 || n > 100) {
		v.bad("dns_config.rate_limit.slip: %d: want 1 to 100, or -1 to drop all answers over the limit", n)
	}
	for i, s := range d.RateLimit.Exempt {
		if _, err := netip.ParsePrefix(s); err != nil {
			v.bad("dns_config.rate_limit.exempt[%d]: %q is not a CIDR range, such as 10.0.0.0/8", i, s)
		}
	}
}

func (v *validator) notNegative(key string, d time.Duration) {
	if d < 0 {
		v.bad("%s: %v is negative", key, d)
	}
}

func (v *validator) positive(key string, d time.Duration) {
	if d <= 0 {
		v.bad("%s: %v: want more than 0", key, d)
	}
}

func (v *validator) definitions() {
	c := v.c
	seen := map[string]bool{}
	checks := map[string]bool{}
	for i, r := range c.Services {
		if seen[r.Instance.ID] {
			v.bad("services: the id %q is there twice; give each an id of its own", r.Instance.ID)
		}
		seen[r.Instance.ID] = true
		for n, d := range r.Checks {
			v.check(d, checks, fmt.Sprintf("services[%d].checks[%d]", i, n))
		}
	}
	for i, d := range c.Checks {
		v.check(d, checks, fmt.Sprintf("checks[%d]", i))
		if d.ServiceID != "" && !seen[d.ServiceID] {
			v.bad("checks[%d].service_id: no service of the configuration has the id %q", i, d.ServiceID)
		}
	}
}

func (v *validator) watches() {
	c := v.c
	if len(c.Watches) > 0 && c.Ports.HTTP <= 0 && c.Addresses.HTTP == "" {
		v.bad("watches: ask the agent's own HTTP API, which is off; set ports.http")
	}
}

func (v *validator) check(d skerry.CheckDefinition, seen map[string]bool, at string) {
	if d.ID != "" && seen[d.ID] {
		v.bad("%s.id: the check id %q is there twice", at, d.ID)
	}
	seen[d.ID] = true
	if len(d.Args) > 0 && !v.c.EnableLocalScriptChecks {
		v.bad("%s.args: script checks are off; set enable_local_script_checks = true to allow those of the configuration", at)
	}
}
