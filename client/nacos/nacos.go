// Package nacos is the source of services that are registered in Nacos (2.0 or later).
// It is a module of its own, since Nacos's SDK for Go, which it takes the messages from,
// brings Alibaba's cloud SDK along:
//
//	import _ "github.com/skerryhq/skerry/client/nacos"
//
//	c, err := client.Open("nacos://user:password@10.0.0.1:8848,10.0.0.2:8848/?namespace=ID")
//	…
//	for s := range c.Watch(ctx, "orders") { … }
//
// A service may also be named "group@@orders", as Nacos writes it. Parameters: namespace
// (its ID, default public), group (default DEFAULT_GROUP), cluster (only the instances of
// these clusters, with commas between; instances that are registered without a zone go
// into the first), tls=true, ca, cert, key (PEM files; cert and key are read anew at each
// connection), skip-verify=true. A host's gRPC port is its port and 1000 more; a path in
// the URL is the one of Nacos's HTTP API in place of "nacos". Any host that answers will
// do.
//
// Of an instance in Nacos, clusterName is the Zone (but for DEFAULT, which says nothing),
// metadata is Meta, and weight is Weight, rounded up: never scaled, since instances that
// are kept from an earlier list, or come from another registry, would then weigh what
// they do not. Those that are not healthy, not enabled or of no weight are Draining: they
// are known to be there, so they are not held as lost ones are, and take calls only when
// there are no others. (Nacos itself leaves instances that are not enabled out of its
// lists; for us they are gone.)
//
// Registered instances are ephemeral: the connection, which each has to itself, is their
// heartbeat, and when it ends the server forgets them. How soon it notices that a
// program has died without a word is the server's affair: a TTL changes nothing about it.
// Tags and Started are kept in the metadata, as "skerry.tags" and "skerry.started".
//
// Nacos cannot say whether an instance left or was lost: missing instances are believed
// as any settled source's are, and for 15 s after Nacos was away nothing is, because a
// server that has just started knows only of instances that have come back to it.
//
// Of the SDK, this package uses the messages. The connection is its own: the SDK's
// reports neither losses nor reasons, may go on for ever when it has been closed, and is
// never forgotten; its naming client takes a refusal for an empty list, keeps one
// registration of a service, writes its cache and its log to the disk and listens at a
// UDP port. A lost connection is replaced within 100 ms, or after pauses that grow to 5
// s.
package nacos

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"

	"github.com/skerryhq/skerry/client"
)

func init() {
	client.RegisterScheme("nacos", func(l client.Location) (client.Source, error) { return open(l) })
}

const (
	defaultPort  = 8848
	grpcOffset   = 1000
	answerWithin = 3 * time.Second // a question to Nacos
	// refreshEvery is how often a list is asked for although nothing was pushed.
	refreshEvery = 30 * time.Second
	// settledAfter is how long a server may lack instances after it was away: the
	// SDKs' pauses before they connect again grow to 5 s, and they look every 3 s.
	settledAfter = 15 * time.Second
)

// Source reads from and registers in one Nacos cluster. It is connected while it is
// used.
type Source struct {
	servers          []server
	tls              *tls.Config // nil for plain text
	namespace, group string
	clusters         string // those watched, with commas between; "" for all
	login            *login
	settle           time.Duration

	mu    sync.Mutex
	users int
	link  *link // of all watches; nil while there are none
}

func open(l client.Location) (*Source, error) {
	s := &Source{
		namespace: constant.DEFAULT_NAMESPACE_ID, group: constant.DEFAULT_GROUP, settle: settledAfter,
	}
	for name, values := range l.Query {
		value := values[0]
		switch name {
		case "namespace":
			if value != "" {
				s.namespace = value
			}
		case "group":
			if value == "" || strings.Contains(value, splitter) {
				return nil, fmt.Errorf("client/nacos: group=%q: want a name without %q", value, splitter)
			}
			s.group = value
		case "cluster":
			s.clusters = value
		case "tls", "ca", "cert", "key", "skip-verify":
		default:
			return nil, fmt.Errorf("client/nacos: unknown parameter %q (there are: namespace, group, cluster, tls, ca, cert, key, skip-verify)", name)
		}
	}
	var err error
	if s.tls, err = client.TLS(l.Query, nil); err != nil {
		return nil, fmt.Errorf("client/nacos: %w", err)
	}
	if s.servers, err = serversOf(l.Hosts); err != nil {
		return nil, err
	}
	s.login = newLogin(l, s)
	return s, nil
}

// server is where one is: at its port by HTTP, and at another by gRPC.
type server struct {
	host string
	port int
}

func (s server) http() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }
func (s server) grpc() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port+grpcOffset)) }

func serversOf(hosts []string) (out []server, err error) {
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	for _, host := range hosts {
		port := defaultPort
		if name, number, err := net.SplitHostPort(host); err == nil {
			if port, err = strconv.Atoi(number); err != nil || port <= 0 || port+grpcOffset > 65535 {
				return nil, fmt.Errorf("client/nacos: host %q: want a port up to %d; the one for gRPC is %d more", host, 65535-grpcOffset, grpcOffset)
			}
			host = name
		}
		out = append(out, server{strings.Trim(host, "[]"), port})
	}
	return out, nil
}

// acquire returns the link of all watches, until release.
func (s *Source) acquire() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users++; s.link == nil {
		s.link = newLink(s)
	}
	return s.link
}

func (s *Source) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.link.close()
		s.link = nil
	}
}
