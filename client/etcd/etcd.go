// Package etcd is the source of services that are registered in etcd, as go-zero
// and as etcd's own naming for gRPC lay them out.
//
//	import _ "github.com/skerryhq/skerry/client/etcd"
//
//	c, err := client.Open("etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/")
//	…
//	for s := range c.Watch(ctx, "orders.rpc") { … }
//
// A service's instances are below "<service>/"; a path in the URL comes before it. With
// layout=gozero, the default, a key is "<service>/<lease or ID>" and its value
// "host:port". With layout=endpoints the format is that of etcd's package
// naming/endpoints; with layout=kratos or kratos-http it is that of Kratos's registry, of
// which the gRPC or the HTTP endpoint is read, below /microservices unless the URL has a
// path. Parameters: layout, tls=true, ca, cert, key (PEM files; cert and key are read
// anew at each connection), skip-verify=true; tls may also be a name given to
// [RegisterTLS]. The user and password stand before the hosts. Any host that answers will
// do.
//
// etcd cannot say whether a key was deleted or has expired: its missing instances are
// believed as any settled source's are.
package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/skerryhq/skerry/client"
)

func init() {
	client.RegisterScheme("etcd", func(l client.Location) (client.Source, error) { return open(l) })
}

var (
	tlsMu      sync.Mutex
	tlsConfigs = map[string]*tls.Config{}
)

// RegisterTLS gives a TLS configuration a name, for the parameter tls of URLs: for
// programs that have one already, rather than files. A later one of the same name
// replaces it for clients opened from then on.
func RegisterTLS(name string, config *tls.Config) {
	tlsMu.Lock()
	defer tlsMu.Unlock()
	tlsConfigs[name] = config.Clone()
}

func registeredTLS(name string) *tls.Config {
	tlsMu.Lock()
	defer tlsMu.Unlock()
	return tlsConfigs[name].Clone()
}

const (
	defaultPort    = "2379"
	dialWithin     = 2 * time.Second
	answerWithin   = 5 * time.Second
	keepaliveEvery = 10 * time.Second
	keepaliveFor   = 3 * time.Second
	mostTries      = 10
	// mostReconnect is far below gRPC's 120 s: a registry that is back is wanted.
	mostReconnect = 3 * time.Second
)

// Source reads from and registers in one etcd cluster. It is connected while it is
// used.
type Source struct {
	cfg    clientv3.Config
	path   string // before all keys
	layout layout

	mu     sync.Mutex
	users  int
	client *clientv3.Client // nil while not connected
}

func open(l client.Location) (*Source, error) {
	s := &Source{layout: goZero{}}
	s.cfg = clientv3.Config{
		DialTimeout: answerWithin, DialKeepAliveTime: keepaliveEvery, DialKeepAliveTimeout: keepaliveFor,
		Logger: zap.NewNop(), // errors are returned to the caller
		// A failure is returned soon: the source asks again by itself.
		MaxUnaryRetries: mostTries,
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: mostReconnect},
				MinConnectTimeout: dialWithin,
			}),
			grpc.WithChainUnaryInterceptor(failFast), grpc.WithChainStreamInterceptor(failFastStream),
		},
	}
	if l.User != nil {
		s.cfg.Username = l.User.Username()
		s.cfg.Password, _ = l.User.Password()
	}
	for name, values := range l.Query {
		switch name {
		case "layout":
			if s.layout = layouts[values[0]]; s.layout == nil {
				return nil, fmt.Errorf("client/etcd: layout=%q: want gozero, endpoints, kratos or kratos-http", values[0])
			}
		case "tls", "ca", "cert", "key", "skip-verify":
		default:
			return nil, fmt.Errorf("client/etcd: unknown parameter %q (there are: layout, tls, ca, cert, key, skip-verify)", name)
		}
	}
	if s.path = strings.Trim(l.Path, "/"); s.path != "" {
		s.path += "/"
	}
	if _, ok := s.layout.(kratos); ok {
		if s.path = "/" + s.path; s.path == "/" {
			s.path = kratosRoot
		}
	}
	var err error
	if s.cfg.TLS, err = client.TLS(l.Query, registeredTLS(l.Query.Get("tls"))); err != nil {
		return nil, fmt.Errorf("client/etcd: %w", err)
	}
	s.cfg.Endpoints = endpointsOf(l.Hosts)
	return s, nil
}

func endpointsOf(hosts []string) (out []string) {
	for _, host := range hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), defaultPort)
		}
		out = append(out, host)
	}
	if len(out) == 0 {
		out = []string{"127.0.0.1:" + defaultPort}
	}
	return out
}

// acquire marks the connection as used until release.
func (s *Source) acquire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

func (s *Source) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

// connection returns the connection. With a user it needs a cluster that answers;
// hence it is not made once and for all.
func (s *Source) connection() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		c, err := clientv3.New(s.cfg)
		if err != nil {
			return nil, fmt.Errorf("client/etcd: %w", err)
		}
		s.client = c
	}
	return s.client, nil
}

// asking bounds a question, and lets a member that has lost the others say so.
func asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(clientv3.WithRequireLeader(ctx), answerWithin)
}

// failFast undoes the setting of etcd's client to wait for a connection, which ends in a
// "deadline exceeded" without the cause.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

func failFastStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return stream(ctx, desc, cc, method, append(opts, grpc.WaitForReady(false))...)
}
