package gozero

import (
	"errors"
	"fmt"
	"time"

	"github.com/skerryhq/skerry/client"
)

// ClientConf is a block of the kind zrpc.RpcClientConf.
type ClientConf struct {
	// Source is the URL for [client.Open]. It may hold a password.
	Source string
	// Service is the name to watch.
	Service string

	Etcd      Etcd
	Endpoints []string
	Target    string
	App       string
	Token     string
	// NonBlock is whether dialing does not wait for a connection; default true.
	NonBlock bool
	// Timeout is that of a call; default 2 s, 0: none.
	Timeout time.Duration
	// KeepaliveTime is the silence after which a server is pinged; 0: never.
	KeepaliveTime time.Duration
	Middlewares   ClientMiddlewares
	// BalancerName is p2c_ewma by default.
	BalancerName string
}

// ClientMiddlewares selects zrpc's interceptors of a client; default: all.
type ClientMiddlewares struct{ Trace, Duration, Prometheus, Breaker, Timeout bool }

// Etcd is a block of the kind discov.EtcdConf.
type Etcd struct {
	Hosts []string
	Key   string
	// ID is the number of a server's key below Key; 0: that of its lease.
	ID int64
	// User and Pass are used only if both are given; the three files, only if all are.
	User, Pass                        string
	CertFile, CertKeyFile, CACertFile string
	InsecureSkipVerify                bool
}

// Option configures the reading of a file.
type Option func(*options)

type options struct{ env bool }

// UseEnv replaces $NAME and ${NAME} in the file by environment variables, as go-zero's
// conf.UseEnv does. Unset ones become nothing.
func UseEnv() Option { return func(o *options) { o.env = true } }

// ReadClient reads a client's block of a file. Of Endpoints, Target and Etcd the first
// that is given counts.
func ReadClient(file, path string, opts ...Option) (*ClientConf, error) {
	b, err := load(file, path, opts)
	if err != nil {
		return nil, err
	}
	c := &ClientConf{
		Endpoints: b.texts("Endpoints"), Target: b.text("Target"), App: b.text("App"), Token: b.text("Token"),
		NonBlock: b.truth("NonBlock", true), Timeout: b.milliseconds("Timeout", defaultTimeout),
		KeepaliveTime: b.duration("KeepaliveTime"), BalancerName: b.text("BalancerName"), Etcd: b.etcd(),
	}
	if c.BalancerName == "" {
		c.BalancerName = "p2c_ewma"
	}
	m := b.block("Middlewares")
	c.Middlewares = ClientMiddlewares{
		Trace: m.truth("Trace", true), Duration: m.truth("Duration", true), Prometheus: m.truth("Prometheus", true),
		Breaker: m.truth("Breaker", true), Timeout: m.truth("Timeout", true),
	}
	if *b.err == nil {
		c.Source, c.Service, *b.err = c.locate()
	}
	if *b.err != nil {
		return nil, fmt.Errorf("client/gozero: %s: %w", b.where(file), *b.err)
	}
	return c, nil
}

const defaultTimeout = 2 * time.Second

// locate returns where the service is found.
func (c *ClientConf) locate() (source, service string, err error) {
	switch {
	case len(c.Endpoints) > 0:
		return direct(c.Endpoints)
	case c.Target != "":
		return ParseTarget(c.Target)
	case len(c.Etcd.Hosts) == 0:
		return "", "", errors.New("the service has no address: set Endpoints, Target, or Etcd with Hosts and Key")
	case c.Etcd.Key == "":
		return "", "", errors.New("Etcd.Key is empty: set it to the name of the service")
	}
	source, err = c.Etcd.source()
	return source, c.Etcd.Key, err
}

// Open opens a client of the source. Its Watch takes c.Service.
func (c *ClientConf) Open(opts ...client.Option) (*client.Client, error) {
	return client.Open(c.Source, opts...)
}
