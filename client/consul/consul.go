// Package consul is the source of Skerry and of Consul, which speak the same HTTP API.
//
//	import _ "github.com/skerryhq/skerry/client/consul"
//
//	c, err := client.Open("skerry://10.0.0.1:8500,10.0.0.2:8500/?tag=v2&token=…")
//
// "skerry" registers instances by a lease with the server, without an agent, and reads by
// streams of events: of several addresses, the next one goes on within 3 s where another
// has died or hangs. "consul" registers instances with the agent at the address, with a TTL
// check, and reads by blocking queries, as "skerry" does where there are no streams.
// Parameters: tag (may come several times), dc, token, passing=false to see the unhealthy
// too, tagged (the tagged address to call where an instance has it, such as wan, or
// Kratos's grpc and http), and those of [client.TLS].
package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

func init() {
	client.RegisterScheme("skerry", func(l client.Location) (client.Source, error) { return open(l, true) })
	client.RegisterScheme("consul", func(l client.Location) (client.Source, error) { return open(l, false) })
}

// Source reads from and registers with one registry, at the first of its addresses
// that answers.
type Source struct {
	api     *api
	query   url.Values // of every read
	tagged  string     // the tagged address that is wanted; "" for none
	lease   bool       // registers by lease, not with an agent
	streams bool       // reads by streams, where the registry has them

	told sync.Once // that it has none
}

func open(l client.Location, lease bool) (*Source, error) {
	s := &Source{query: url.Values{}, lease: lease}
	s.api = &api{hosts: l.Hosts, token: l.Query.Get("token"), scheme: "http"}
	if len(s.api.hosts) == 0 {
		s.api.hosts = []string{"127.0.0.1:8500"}
	}
	for i, host := range s.api.hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			s.api.hosts[i] = net.JoinHostPort(host, "8500")
		}
	}
	transport := &http.Transport{
		// A dead address must not hold up the next.
		DialContext:         (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 2 * time.Second,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,
	}
	for key, values := range l.Query {
		switch key {
		case "token":
		case "tag":
			s.query["tag"] = values
		case "dc":
			s.query.Set("dc", values[0])
		case "tagged":
			s.tagged = values[0]
		case "passing":
			if _, err := strconv.ParseBool(values[0]); err != nil {
				return nil, fmt.Errorf("client/consul: passing=%q: want true or false", values[0])
			}
		case "tls", "ca", "cert", "key", "skip-verify":
		default:
			return nil, fmt.Errorf("client/consul: unknown parameter %q (there are: tag, dc, token, passing, tagged, tls, ca, cert, key, skip-verify)", key)
		}
	}
	if all, _ := strconv.ParseBool(l.Query.Get("passing")); all || !l.Query.Has("passing") {
		s.query.Set("passing", "1")
	}
	s.streams = lease && !s.query.Has("dc") // a stream has the services of its own datacenter
	var err error
	if transport.TLSClientConfig, err = client.TLS(l.Query, nil); err != nil {
		return nil, fmt.Errorf("client/consul: %w", err)
	}
	if transport.TLSClientConfig != nil {
		s.api.scheme = "https"
	}
	s.api.client = &http.Client{Transport: transport}
	return s, nil
}

const (
	// wait is how long a blocking query may wait: shorter than the idle timeouts on the
	// way.
	wait = 55 * time.Second
	// slack is how much later its answer may come: servers add a sixteenth.
	slack = wait/16 + 10*time.Second
	// leastPause keeps a service that changes all the time from being asked for all
	// the time, as Consul's documentation asks of clients.
	leastPause = 50 * time.Millisecond
)

// Watch implements [client.Source].
func (s *Source) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		f := &follower{s: s, service: service, view: s.view(), yield: yield}
		var retry client.Backoff
		for ctx.Err() == nil {
			if s.streams {
				err := f.run(ctx)
				if errors.Is(err, errStopped) {
					return
				}
				s.leave(service, err)
			}
			// After an error it may be a registry that has streams.
			err := s.poll(ctx, service, yield, &retry)
			if err == nil || !yield(client.Update{}, err) {
				return
			}
			retry.Wait(ctx)
		}
	}
}

// poll yields what blocking queries answer until one fails. It returns nil if ctx ended or the caller stops.
func (s *Source) poll(ctx context.Context, service string, yield func(client.Update, error) bool, retry *client.Backoff) error {
	var index uint64
	for {
		began := time.Now()
		u, next, err := s.ask(ctx, service, index)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		retry.Reset()
		if (next != index || index == 0) && !yield(u, nil) {
			return nil
		}
		// An index that falls is another server's, or that of lost data: begin anew.
		if next < index {
			next = 0
		}
		index = next
		if pause := leastPause - time.Since(began); pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// entry is an instance in the answer of health/service.
type entry struct {
	Node struct {
		Node, Address string
		Meta          map[string]string
	}
	Service struct {
		ID, Service, Address string
		Port                 int
		Tags                 []string
		Meta                 map[string]string
		Weights              struct{ Passing int }
		Locality             *struct{ Zone string }
		TaggedAddresses      map[string]address
	}
	Checks []check
}

type check struct{ Status string }

// address is a tagged one. Kratos writes a whole URL as the host.
type address struct {
	Address string
	Port    int
}

func (a address) String() string {
	if u, err := url.Parse(a.Address); err == nil && u.Host != "" {
		return u.Host
	}
	return net.JoinHostPort(a.Address, strconv.Itoa(a.Port))
}

// ask asks for a service once, waiting for a change beyond the index.
func (s *Source) ask(ctx context.Context, service string, index uint64) (u client.Update, next uint64, err error) {
	query := url.Values{}
	for key, values := range s.query {
		query[key] = values
	}
	limit := slack
	if index > 0 {
		query.Set("index", strconv.FormatUint(index, 10))
		query.Set("wait", wait.String())
		limit += wait
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	header, body, err := s.api.do(ctx, http.MethodGet, "/v1/health/service/"+url.PathEscape(service)+"?"+query.Encode(), nil)
	if err != nil {
		return u, 0, err
	}
	var entries []entry
	if err := json.Unmarshal(body, &entries); err != nil {
		return u, 0, fmt.Errorf("client/consul: the answer for %s cannot be read: %w", service, err)
	}
	next, err = strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64)
	if err != nil || next == 0 {
		next = 1
	}
	u.Revision = next
	for i := range entries {
		u.Instances = append(u.Instances, entries[i].instance(s.tagged))
	}
	evidence(&u, header.Get("X-Skerry-Empty-Cause"))
	return u, next, nil
}

// evidence notes what the cause of an empty list proves.
func evidence(u *client.Update, cause string) {
	switch cause {
	case "deregistered":
		u.Proven = true
	case "recovering", "unknown":
		// It has just started, or never knew the service: it cannot know which instances
		// are gone.
		u.Unsettled = true
	}
}

// The metadata that registrations of ours carry.
const (
	metaZone    = "zone"
	metaStarted = "started"
)

func (e *entry) instance(tagged string) client.Instance {
	at := address{cmp.Or(e.Service.Address, e.Node.Address), e.Service.Port}
	if t, ok := e.Service.TaggedAddresses[tagged]; ok {
		at = t
	}
	i := client.Instance{
		// IDs are unique on their node only.
		ID: e.Node.Node + "/" + e.Service.ID, Service: e.Service.Service, Address: at.String(),
		Weight: e.Service.Weights.Passing, Tags: e.Service.Tags, Meta: e.Service.Meta, Zone: e.Service.Meta[metaZone],
	}
	if i.Zone == "" && e.Service.Locality != nil {
		i.Zone = e.Service.Locality.Zone
	}
	if i.Zone == "" {
		i.Zone = e.Node.Meta[metaZone]
	}
	if started, err := time.Parse(time.RFC3339, e.Service.Meta[metaStarted]); err == nil {
		i.Started = started
	}
	return i
}
