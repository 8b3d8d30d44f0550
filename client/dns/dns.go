// Package dns is the source of services that are found in DNS, by SRV records or by
// addresses.
//
//	import _ "github.com/skerryhq/skerry/client/dns"
//
//	c, err := client.Open("dns://127.0.0.1:8600/service.consul")
//	…
//	for s := range c.Watch(ctx, "web") { … } // SRV records of web.service.consul
//
// The hosts are DNS servers, of which any that answers will do; without one, those of
// /etc/resolv.conf are asked, with its search list. The path is the domain that services are in;
// it may also be a service's whole name, which is then the one to watch. A service with a
// port, "web.prod.svc:8080", is looked up by its addresses, one without by SRV records.
//
// Records are read again when they expire, after 2 s at the least and 30 s at the most.
// That a name does not exist means that there are no instances, without proof;
// servers that fail, refuse or do not answer say nothing. Questions are asked by TCP where
// the server takes it, since by UDP servers may cut lists without saying so. Of the SRV records, those of
// the lowest priority take calls, and the others when there are no such.
package dns

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/client"
)

func init() {
	client.RegisterScheme("dns", func(l client.Location) (client.Source, error) { return open(l) })
}

const (
	leastPause = 2 * time.Second
	mostPause  = 30 * time.Second
	resolvConf = "/etc/resolv.conf"
)

// Source reads from DNS servers.
type Source struct {
	resolver *resolver
	domain   string // "" for none
	// least and most bound the time between two lookups.
	least, most time.Duration
}

func open(l client.Location) (*Source, error) {
	for name := range l.Query {
		return nil, fmt.Errorf("client/dns: unknown parameter %q (there are none)", name)
	}
	domain, err := url.PathUnescape(strings.Trim(l.Path, "/."))
	if err != nil || strings.Contains(domain, "/") {
		return nil, fmt.Errorf("client/dns: %q is no domain", l.Path)
	}
	s := &Source{domain: domain, least: leastPause, most: mostPause, resolver: newResolver(resolvConf)}
	for _, host := range l.Hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "53")
		}
		s.resolver.servers = append(s.resolver.servers, host)
	}
	return s, nil
}

// Watch implements [client.Source]: it asks again and again.
func (s *Source) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		name, port, err := s.parse(service)
		if err != nil {
			if yield(client.Update{}, err) {
				<-ctx.Done()
			}
			return
		}
		var pause client.Backoff
		for ctx.Err() == nil {
			f := &finding{service: service, ttl: s.most}
			if port > 0 {
				err = f.byAddress(ctx, s.resolver, name, port)
			} else {
				err = f.bySRV(ctx, s.resolver, name)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				if !yield(client.Update{}, fmt.Errorf("client/dns: %w", err)) {
					return
				}
				pause.Wait(ctx)
				continue
			}
			pause.Reset()
			if !yield(f.update(), nil) {
				return
			}
			wait := max(f.ttl, s.least)
			timer := time.NewTimer(wait + rand.N(wait/10+1)) // spread out
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

// parse returns the name to look up, and the port; 0 where SRV records say it.
func (s *Source) parse(service string) (name string, port int, err error) {
	name = service
	if host, number, ok := strings.Cut(service, ":"); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("client/dns: the port of %q is no number from 1 to 65535", service)
		}
		name, port = host, int(n)
	}
	rooted := strings.HasSuffix(name, ".")
	name = strings.TrimSuffix(name, ".")
	switch {
	case s.domain == "":
	case name == "" || strings.EqualFold(name, s.domain):
		name = s.domain
	case !strings.HasSuffix(strings.ToLower(name), "."+strings.ToLower(s.domain)):
		name += "." + s.domain
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return "", 0, fmt.Errorf("client/dns: %q is no domain name", service)
	}
	if rooted {
		name += "."
	}
	return name, port, nil
}

// finding is the result of one round of questions.
type finding struct {
	service   string
	instances map[string]client.Instance // by address
	priority  map[string]uint16          // of the instances from SRV records
	ttl       time.Duration              // when to ask again
	partial   bool                       // there is more than was answered
}

// note takes in when an answer expires, and whether it is whole.
func (f *finding) note(a *answer) {
	f.ttl, f.partial = min(f.ttl, a.ttl), f.partial || a.cut
}

func (f *finding) add(host, ip string, port int, weight, priority uint16) {
	i := client.Instance{Service: f.service, Address: net.JoinHostPort(ip, strconv.Itoa(port)), Weight: int(weight), Meta: map[string]string{MetaHost: host}}
	i.ID = i.Address
	if f.instances == nil {
		f.instances, f.priority = map[string]client.Instance{}, map[string]uint16{}
	}
	if known, twice := f.priority[i.ID]; !twice || priority < known {
		f.instances[i.ID], f.priority[i.ID] = i, priority
	}
}

// MetaHost is the name, in an instance's metadata, whose address it is.
const MetaHost = "host"

// byAddress finds a name's addresses.
func (f *finding) byAddress(ctx context.Context, r *resolver, name string, port int) error {
	a, err := r.addresses(ctx, name)
	if err != nil {
		return err
	}
	f.note(a)
	for _, ip := range a.ips {
		f.add(strings.TrimSuffix(a.name, "."), ip, port, 0, 0)
	}
	return nil
}

// bySRV finds the targets of a name's SRV records. A target whose address cannot be found
// now makes the finding partial.
func (f *finding) bySRV(ctx context.Context, r *resolver, name string) error {
	a, err := r.lookup(ctx, name, dns.TypeSRV)
	if err != nil {
		return err
	}
	f.note(a)
	var failed error
	for _, srv := range a.srv {
		if srv.Target == "." { // RFC 2782: decidedly not available
			continue
		}
		ips := a.extra[strings.ToLower(srv.Target)]
		if len(ips) == 0 {
			target, err := r.addresses(ctx, srv.Target)
			if err != nil {
				failed = err
				continue
			}
			f.note(target)
			ips = target.ips
		}
		for _, ip := range ips {
			f.add(strings.TrimSuffix(srv.Target, "."), ip, int(srv.Port), srv.Weight, srv.Priority)
		}
	}
	if failed != nil && len(f.instances) == 0 {
		return failed
	}
	f.partial = f.partial || failed != nil
	return nil
}

// update returns the instances that were found.
func (f *finding) update() client.Update {
	first := uint16(1<<16 - 1)
	for _, priority := range f.priority {
		first = min(first, priority)
	}
	u := client.Update{Unsettled: f.partial}
	for id, i := range f.instances {
		i.Draining = f.priority[id] > first // takes calls when there are no others
		u.Instances = append(u.Instances, i)
	}
	slices.SortFunc(u.Instances, func(a, b client.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return u
}
