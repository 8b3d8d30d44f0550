package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// Bus is an outside NATS in place of the bus that is in the servers.
type Bus struct {
	// URL is that of an outside NATS that carries what servers tell each other, or several, separated by commas; none: the servers carry it themselves.
	URL string `config:"url,S"`
	// User is the user to act as there.
	User string `config:"user,S"`
	// Password is the user's.
	Password string `config:"password,S"`
	// CredsFile is a file of NATS credentials in place of a user.
	CredsFile string `config:"creds_file,S"`
}

// Among reports whether this is a server among several.
func (c *Config) Among() bool {
	return c.Server && !c.Dev && (c.BootstrapExpect > 1 || len(c.RetryJoin) > 0)
}

// AgentsBind returns the address on which a server that is alone listens for agents at ports.server. It is
// loopback where a connection from another host would need insecure_cluster, and empty if there is no port, or in
// dev mode if none was set.
func (c *Config) AgentsBind() string {
	switch {
	case !c.Server || c.Ports.Server <= 0 || c.Dev && !c.IsSet("ports.server"):
		return ""
	case c.beyondLoopbackBind() && !c.InsecureCluster && !c.Secured():
		return "127.0.0.1"
	default:
		return c.BindAddr
	}
}

// JoinAddresses returns the addresses of retry_join as host:port of ports.server. A port of
// Consul's gossip stands for it, since that is what Consul's files have.
func (c *Config) JoinAddresses() (out []string, err error) {
	return c.joinAddresses("retry_join", c.RetryJoin, c.Ports.SerfLAN)
}

// JoinWANAddresses returns the addresses of retry_join_wan, likewise.
func (c *Config) JoinWANAddresses() (out []string, err error) {
	return c.joinAddresses("retry_join_wan", c.RetryJoinWAN, c.Ports.SerfWAN)
}

func (c *Config) joinAddresses(key string, all []string, gossip int) (out []string, err error) {
	for _, a := range all {
		at, err := c.joinAddress(key, a, gossip)
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
	return out, nil
}

func (c *Config) joinAddress(key, a string, gossip int) (string, error) {
	if strings.Contains(a, "provider=") {
		return "", skerry.Errorf(skerry.Invalid, "%s: %q asks a cloud for addresses, which is not supported: give a DNS name that has the servers' addresses, or the addresses", key, a)
	}
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		host, port = strings.Trim(a, "[]"), strconv.Itoa(c.Ports.Server)
	}
	n, err := strconv.Atoi(port)
	if host == "" || err != nil || n < 1 || n > 65535 || strings.ContainsAny(host, " /") {
		return "", skerry.Errorf(skerry.Invalid, "%s: %q: want a host, or host:port with the port of ports.server", key, a)
	}
	if n == gossip {
		port = strconv.Itoa(c.Ports.Server)
	}
	return net.JoinHostPort(host, port), nil
}

// cluster checks the settings of a server among several.
func (v *validator) cluster() {
	c := v.c
	if b := c.Bus; b.URL == "" && (b.User != "" || b.Password != "" || b.CredsFile != "") {
		v.bad("bus: user, password and creds_file are for an outside NATS: name it in bus.url")
	}
	if _, err := c.JoinAddresses(); err != nil {
		v.errs = append(v.errs, err)
	}
	if _, err := c.JoinWANAddresses(); err != nil {
		v.errs = append(v.errs, err)
	}
	if len(c.RetryJoinWAN) > 0 && !c.Server && !c.Dev {
		v.bad("retry_join_wan: servers join other datacenters, and agents reach those through them; take it out")
	}
	if c.Secured() {
		v.secured()
	}
	if !c.Voting {
		switch {
		case !c.Server || c.Dev:
			v.bad("voting: false is for a server among several; set server = true, or take it out")
		case len(c.RetryJoin) == 0 || c.BootstrapExpect > 0 || c.Bootstrap:
			v.bad("voting: a read server joins a cluster that others form: name them in retry_join, and take bootstrap_expect out")
		}
	}
	if !c.Server && !c.Dev {
		v.attached()
	}
	if !c.Among() {
		return
	}
	for key, port := range map[string]int{"server": c.Ports.Server, "quorum": c.Ports.Quorum, "bus": c.Ports.Bus} {
		if port <= 0 {
			v.bad("ports.%s: a server among several needs it; set a port", key)
		}
	}
	if c.beyondLoopbackBind() && !c.InsecureCluster && !c.Secured() {
		v.bad("bind_addr: servers speak to each other without encryption, and every host that reaches %s could pose as a server: set join_token_file to the token of `skerry token create -server`, bind to a loopback address, or set insecure_cluster = true on a network that only the servers reach", c.BindAddr)
	}
}

// Secured reports whether connections with other processes of the cluster are encrypted.
func (c *Config) Secured() bool { return c.JoinTokenFile != "" || c.TLS.Internal != TLSInternal{} }

// secured checks the settings of a process with a certificate.
func (v *validator) secured() {
	c := v.c
	own, key := c.TLS.Internal, "join_token_file"
	if own != (TLSInternal{}) {
		key = "tls.internal"
	}
	switch {
	case c.Dev:
		v.bad("%s: a development agent has no data folder for a certificate; take it out, or -dev", key)
	case !c.Server && len(c.RetryJoin) == 0:
		v.bad("%s: an agent joins servers: name them in retry_join", key)
	case own == TLSInternal{}:
	case c.JoinTokenFile != "":
		v.bad("join_token_file: tls.internal has the certificate of this process; take one of them out")
	case own.CAFile == "" || own.CertFile == "" || own.KeyFile == "":
		v.bad("tls.internal: want ca_file, cert_file and key_file")
	}
	if d := c.TLS.NodeTTL; d < leastNodeTTL {
		v.bad("tls.node_ttl: %v: want at least %v", d, leastNodeTTL)
	}
}

// leastNodeTTL is the shortest time that certificates of processes may be valid: they are renewed after two thirds of it.
const leastNodeTTL = 10 * time.Second

// attached checks the settings of an agent that attaches to servers.
func (v *validator) attached() {
	join, err := v.c.JoinAddresses()
	if err != nil || v.c.InsecureCluster || v.c.Secured() {
		return
	}
	for _, a := range join {
		host, _, _ := net.SplitHostPort(a)
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			v.bad("retry_join: agents speak to servers without encryption, and %s is another host: set join_token_file to the token of `skerry token create -agent`, or insecure_cluster = true on a network that only they reach", host)
		}
	}
}

// beyondLoopbackBind reports whether other hosts reach what servers listen on for each other.
func (c *Config) beyondLoopbackBind() bool {
	bind, err := netip.ParseAddr(strings.Trim(c.BindAddr, "[]"))
	return err == nil && !bind.IsLoopback()
}
