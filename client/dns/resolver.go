package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	answerWithin = 2 * time.Second
	// size is the size that passes everywhere by UDP without being split, as agreed upon
	// at DNS Flag Day 2020.
	size = 1232
	// udpFor is for how long a server that took no TCP is not asked by it again.
	udpFor = time.Minute
)

// resolver asks the first of its servers that answers.
type resolver struct {
	servers []string // none: those of conf
	conf    string
	at      atomic.Uint32 // the server that answered last
	udpOnly sync.Map      // server → until when
}

func newResolver(conf string) *resolver { return &resolver{conf: conf} }

// answer holds the servers' records of a name. A name that does not exist has none.
type answer struct {
	name  string
	srv   []*dns.SRV
	ips   []string            // of name: IPv4, or IPv6 where it has no other
	extra map[string][]string // the addresses that came with SRV records, by name in lower case
	ttl   time.Duration
	// absent is true if the name does not exist, with records of any kind.
	absent bool
	// cut is true if the answer did not fit into a packet.
	cut bool
}

// addresses returns the addresses of a name.
func (r *resolver) addresses(ctx context.Context, name string) (*answer, error) {
	a, err := r.lookup(ctx, name, dns.TypeA)
	if err != nil || len(a.ips) > 0 || a.absent {
		return a, err
	}
	return r.lookup(ctx, name, dns.TypeAAAA)
}

// lookup asks for a name, with each suffix of the search list until one has such records.
// A missing name is no error: the answer is empty.
func (r *resolver) lookup(ctx context.Context, name string, kind uint16) (*answer, error) {
	servers, names := r.servers, []string{dns.Fqdn(name)}
	if len(servers) == 0 {
		// Read each time: the file changes with the network.
		conf, err := dns.ClientConfigFromFile(r.conf)
		if err != nil {
			return nil, err
		}
		for _, s := range conf.Servers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
		names = conf.NameList(name)
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("there is no server in %s", r.conf)
	}
	var none *answer
	var failed error
	for _, n := range names {
		a, err := r.ask(ctx, servers, n, kind)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case len(a.srv) > 0 || len(a.ips) > 0:
			return a, nil
		case none == nil || a.ttl < none.ttl:
			none = a
		}
	}
	if failed != nil {
		return nil, failed
	}
	return none, nil
}

// ask asks one question of one server after another until one answers.
func (r *resolver) ask(ctx context.Context, servers []string, name string, kind uint16) (*answer, error) {
	var failed []error
	first := r.at.Load()
	for n := range servers {
		at := (first + uint32(n)) % uint32(len(servers))
		reply, err := r.exchange(ctx, servers[at], name, kind)
		if err == nil {
			r.at.Store(at)
			return read(reply, name, kind), nil
		}
		failed = append(failed, fmt.Errorf("%s %s at %s: %w", dns.TypeToString[kind], name, servers[at], err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// exchange asks one server: by TCP, since servers such as Consul cut answers by UDP to a
// size without marking them. Where there is no TCP, UDP must do.
func (r *resolver) exchange(ctx context.Context, server, name string, kind uint16) (reply *dns.Msg, err error) {
	question := new(dns.Msg).SetQuestion(name, kind)
	question.SetEdns0(size, false)
	err = errUDPOnly
	if until, shut := r.udpOnly.Load(server); !shut || time.Now().After(until.(time.Time)) {
		reply, err = over(ctx, "tcp", server, question)
	}
	if err != nil && ctx.Err() == nil {
		tcp := err
		if reply, err = over(ctx, "udp", server, question); err == nil && tcp != errUDPOnly {
			r.udpOnly.Store(server, time.Now().Add(udpFor))
		}
	}
	switch {
	case err != nil:
		return nil, err
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("the server answers %s", dns.RcodeToString[reply.Rcode])
	case len(reply.Question) != 1 || !strings.EqualFold(reply.Question[0].Name, name) || reply.Question[0].Qtype != kind:
		return nil, errors.New("the answer is to another question")
	}
	return reply, nil
}

var errUDPOnly = errors.New("the server takes no TCP")

// over asks one server by one protocol. The end of ctx ends it at once.
func over(ctx context.Context, network, server string, question *dns.Msg) (*dns.Msg, error) {
	c := &dns.Client{Net: network, Timeout: answerWithin, UDPSize: size}
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reply, _, err := c.ExchangeWithConnContext(ctx, question, conn)
	return reply, err
}

// unsaid is when to ask again where no record has a TTL.
const unsaid = 5 * time.Second

// read takes the records of an answer. Aliases have been followed by the server.
func read(reply *dns.Msg, name string, kind uint16) *answer {
	a := &answer{name: name, extra: map[string][]string{}, ttl: -1, absent: reply.Rcode == dns.RcodeNameError, cut: reply.Truncated}
	expires := func(seconds uint32) {
		if ttl := time.Duration(seconds) * time.Second; a.ttl < 0 || ttl < a.ttl {
			a.ttl = ttl
		}
	}
	for _, record := range reply.Answer {
		expires(record.Header().Ttl)
		switch rr := record.(type) {
		case *dns.SRV:
			if kind == dns.TypeSRV {
				a.srv = append(a.srv, rr)
			}
		case *dns.A:
			if kind == dns.TypeA && rr.A.To4() != nil {
				a.ips = append(a.ips, rr.A.String())
			}
		case *dns.AAAA:
			if kind == dns.TypeAAAA && rr.AAAA.To16() != nil {
				a.ips = append(a.ips, rr.AAAA.String())
			}
		}
	}
	six := map[string][]string{}
	for _, record := range reply.Extra {
		of := strings.ToLower(record.Header().Name)
		switch rr := record.(type) {
		case *dns.A:
			if expires(rr.Hdr.Ttl); rr.A.To4() != nil {
				a.extra[of] = append(a.extra[of], rr.A.String())
			}
		case *dns.AAAA:
			if expires(rr.Hdr.Ttl); rr.AAAA.To16() != nil {
				six[of] = append(six[of], rr.AAAA.String())
			}
		}
	}
	for of, ips := range six {
		if len(a.extra[of]) == 0 {
			a.extra[of] = ips
		}
	}
	if len(reply.Answer) == 0 {
		for _, record := range reply.Ns {
			if soa, ok := record.(*dns.SOA); ok { // RFC 2308, section 5
				expires(min(soa.Hdr.Ttl, soa.Minttl))
			}
		}
	}
	if a.ttl < 0 {
		a.ttl = unsaid
	}
	return a
}
