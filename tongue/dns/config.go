package dns

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// SOA holds the timers of the zone's SOA record, in seconds.
type SOA struct {
	Refresh uint32 // default 3600
	Retry   uint32 // default 600
	Expire  uint32 // default 86400
	MinTTL  uint32 // how long a resolver may remember that a name does not exist; default 0
}

// RateLimit bounds the answers over UDP to one network, a /24 or a /56, so that it
// cannot be flooded by questions with forged addresses. Loopback, TCP and clients with
// a valid cookie are never limited.
type RateLimit struct {
	PerSecond int            // answers of each kind; default 500, -1: no limit
	Slip      int            // every Slip-th answer over the limit is sent, truncated; default 1, -1: none
	Exempt    []netip.Prefix // networks that are not limited
}

// The orders in which recursors are asked.
const (
	Sequential = "sequential" // always from the first on
	Random     = "random"     // in a new random order for every question
)

// Config configures a [Server]. Start from [DefaultConfig].
type Config struct {
	Domain    string // the zone that is answered; default "consul."
	AltDomain string // a second name of the zone; answers use the question's; default none

	// NodeTTL is the TTL of answers about nodes and addresses; default 0.
	NodeTTL time.Duration
	// ServiceTTL is the TTL of answers about services. Keys are a name, "prefix*"
	// or "*"; the exact name wins, then the longest prefix. Default 0 for all.
	ServiceTTL map[string]time.Duration
	// OnlyPassing leaves out instances with a warning too, not only critical ones.
	OnlyPassing bool

	// EnableTruncate sets the TC flag on every answer that lacks records for want
	// of room (or for UDPAnswerLimit), so that resolvers ask again over TCP. Off by
	// default, as in Consul: a part is enough for most clients. An answer without room
	// for even one record always has the flag.
	EnableTruncate bool
	// DisableCompression writes every name in full.
	DisableCompression bool
	// AdditionalNodeMetaTXT adds a node's metadata as TXT records to the
	// additional section of A, AAAA and SRV answers. [DefaultConfig] sets it.
	AdditionalNodeMetaTXT bool
	// ARecordLimit is the most records in an A, AAAA or ANY answer, over UDP and
	// TCP; 0 means no limit.
	ARecordLimit int
	// UDPAnswerLimit is the most records in an answer over UDP to a client that
	// takes no more than 512 bytes; default 3.
	UDPAnswerLimit int
	// UDPMax is the most bytes of an answer over UDP to a client beyond loopback without
	// a valid cookie; a longer answer is cut and has the TC flag. Default 1232, which
	// every path takes in one packet.
	UDPMax    int
	RateLimit RateLimit
	SOA       SOA

	// Recursors are asked for foreign names: "host" or "host:port", port 53 by default.
	// Without any, foreign names are refused.
	Recursors        []string
	RecursorStrategy string        // Sequential (the default) or Random
	RecursorTimeout  time.Duration // of one try of one recursor; default 2 s
	MaxRecursions    int           // concurrent ones, each with a file of its own; default and at most 1024

	// Settled delays answers from the zone until it is closed; nil: it does not.
	Settled <-chan struct{}
	// Elsewhere has another process answer a question of the zone, both as on the wire: an
	// agent has a server do so. nil: this process answers.
	Elsewhere func(ctx context.Context, query []byte) ([]byte, error)
	// Followed answers with Elsewhere whether this process has a service itself; nil: it has none.
	Followed skerry.Discovery
	// Datacenters answer questions about names in other ones; nil: no other one is known.
	Datacenters Datacenters
	Readers     skerry.Readers        // notes for how long resolvers keep answers; nil: nothing is noted
	Queries     Queries               // executes prepared queries; nil: there are none
	Log         *slog.Logger          // default: discard
	Registerer  prometheus.Registerer // nil: metrics are not exported
	Net         *rescue.Net           // recovers panics; nil: they are not recovered
}

// The greatest values of a [RateLimit].
const (
	maxRate = 1_000_000
	maxSlip = 100
)

// DefaultConfig returns the values that [New] and [Server.Reload] fill in for zero
// fields, with AdditionalNodeMetaTXT on, whose zero value means off.
func DefaultConfig() Config {
	return Config{AdditionalNodeMetaTXT: true}.withDefaults()
}

func (c Config) withDefaults() Config {
	c.Domain = dns.CanonicalName(cmp.Or(c.Domain, "consul."))
	if c.AltDomain != "" {
		c.AltDomain = dns.CanonicalName(c.AltDomain)
	}
	c.UDPAnswerLimit = cmp.Or(c.UDPAnswerLimit, 3)
	c.UDPMax = cmp.Or(c.UDPMax, 1232)
	c.RateLimit.PerSecond = cmp.Or(c.RateLimit.PerSecond, 500)
	c.RateLimit.Slip = cmp.Or(c.RateLimit.Slip, 1)
	exempt := make([]netip.Prefix, 0, len(c.RateLimit.Exempt))
	for _, p := range c.RateLimit.Exempt {
		exempt = append(exempt, unmapped(p))
	}
	c.RateLimit.Exempt = exempt
	c.SOA.Refresh = cmp.Or(c.SOA.Refresh, 3600)
	c.SOA.Retry = cmp.Or(c.SOA.Retry, 600)
	c.SOA.Expire = cmp.Or(c.SOA.Expire, 86400)
	c.RecursorStrategy = cmp.Or(c.RecursorStrategy, Sequential)
	c.RecursorTimeout = cmp.Or(c.RecursorTimeout, 2*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns an error about invalid values in c: a domain that is no name, a
// recursor that is no address, an unknown strategy, a negative limit or TTL. The error
// names the key as the configuration file does.
func (c Config) Validate() error {
	c = c.withDefaults()
	for key, name := range map[string]string{"domain": c.Domain, "alt_domain": c.AltDomain} {
		if _, ok := dns.IsDomainName(name); name != "" && !ok {
			return fmt.Errorf("%s: %q is not a domain name", key, name)
		}
	}
	for _, r := range c.Recursors {
		if _, err := recursorAddress(r); err != nil {
			return err
		}
	}
	if c.RecursorStrategy != Sequential && c.RecursorStrategy != Random {
		return fmt.Errorf("dns_config.recursor_strategy: %q is neither %q nor %q", c.RecursorStrategy, Sequential, Random)
	}
	if c.ARecordLimit < 0 || c.UDPAnswerLimit < 0 {
		return fmt.Errorf("dns_config: a_record_limit and udp_answer_limit must not be negative")
	}
	if c.UDPMax < dns.MinMsgSize || c.UDPMax > dns.MaxMsgSize {
		return fmt.Errorf("dns_config.udp_max: %d is not from %d to %d bytes", c.UDPMax, dns.MinMsgSize, dns.MaxMsgSize)
	}
	if r := c.RateLimit; r.PerSecond < -1 || r.PerSecond > maxRate || r.Slip < -1 || r.Slip > maxSlip {
		return fmt.Errorf("dns_config.rate_limit: responses_per_second is from 1 to %d and slip from 1 to %d, or -1", maxRate, maxSlip)
	}
	if c.NodeTTL < 0 {
		return fmt.Errorf("dns_config.node_ttl: %v is negative", c.NodeTTL)
	}
	for name, ttl := range c.ServiceTTL {
		if ttl < 0 {
			return fmt.Errorf("dns_config.service_ttl: %v of %q is negative", ttl, name)
		}
	}
	return nil
}

// recursorAddress completes "host" or "host:port".
func recursorAddress(s string) (string, error) {
	host, port := s, "53"
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		host = strings.Trim(s, "[]")
	} else if strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", fmt.Errorf("recursors: %q is not host or host:port: %w", s, err)
		}
	}
	if host == "" || port == "" {
		return "", fmt.Errorf("recursors: %q lacks a host or a port", s)
	}
	return net.JoinHostPort(host, port), nil
}

// seconds renders a TTL, cut to whole seconds.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxInt32))
}

// serviceTTL finds the TTL of a service, whose name is in lower case.
func (c *Config) serviceTTL(name string) uint32 {
	best, longest := time.Duration(0), -1
	for key, ttl := range c.ServiceTTL {
		key = strings.ToLower(key)
		if key == name {
			return seconds(ttl)
		}
		prefix, isPrefix := strings.CutSuffix(key, "*")
		if isPrefix && len(prefix) > longest && strings.HasPrefix(name, prefix) {
			best, longest = ttl, len(prefix)
		}
	}
	return seconds(best)
}
