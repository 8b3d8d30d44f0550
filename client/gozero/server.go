package gozero

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry/client"
)

// ServerConf is a file of the kind zrpc.RpcServerConf.
type ServerConf struct {
	// Source is the URL for [client.Open]; "" where the server registers nowhere. It may
	// hold a password.
	Source string
	// Service is the name that it is found by: Etcd.Key.
	Service string
	// Address is the address for callers: ListenOn, if that has a host; else the host is
	// $POD_IP, or the first address of this machine that is not loopback.
	Address string

	Name     string
	ListenOn string
	Etcd     Etcd
	// Timeout is that of a call; default 2 s, 0: none.
	Timeout time.Duration
	// Health is whether it serves grpc.health; default true.
	Health bool
}

// ReadServer reads a server's block of a file; "" is the file itself, as goctl makes it.
func ReadServer(file, path string, opts ...Option) (*ServerConf, error) {
	b, err := load(file, path, opts)
	if err != nil {
		return nil, err
	}
	c := &ServerConf{
		Name: b.text("Name"), ListenOn: b.text("ListenOn"), Etcd: b.etcd(),
		Timeout: b.milliseconds("Timeout", defaultTimeout), Health: b.truth("Health", true),
	}
	switch {
	case *b.err != nil:
	case c.ListenOn == "":
		*b.err = errors.New("ListenOn is empty: set it to host:port")
	default:
		c.Address = advertised(c.ListenOn, os.Getenv, internalIP)
		if len(c.Etcd.Hosts) > 0 && c.Etcd.Key != "" {
			c.Service = c.Etcd.Key
			c.Source, *b.err = c.Etcd.source()
		}
	}
	if *b.err != nil {
		return nil, fmt.Errorf("client/gozero: %s: %w", b.where(file), *b.err)
	}
	return c, nil
}

// Open opens a client of the source, for [client.Client.Register] or Serve.
func (c *ServerConf) Open(opts ...client.Option) (*client.Client, error) {
	if c.Source == "" {
		return nil, errors.New("client/gozero: the server registers nowhere: set Etcd with Hosts and Key")
	}
	return client.Open(c.Source, opts...)
}

// Instance returns the instance to register.
func (c *ServerConf) Instance() client.Instance {
	i := client.Instance{Service: c.Service, Address: c.Address}
	if c.Etcd.ID > 0 {
		i.ID = strconv.FormatInt(c.Etcd.ID, 10)
	}
	return i
}

// advertised returns the address that go-zero would register.
func advertised(listenOn string, getenv func(string) string, internal func() string) string {
	host, rest, _ := strings.Cut(listenOn, ":")
	if host != "" && host != "0.0.0.0" {
		return listenOn
	}
	ip := getenv("POD_IP")
	if ip == "" {
		ip = internal()
	}
	if ip == "" {
		return listenOn
	}
	return ip + ":" + rest
}

// internalIP returns the first IPv4 address of an interface that is up and not loopback.
func internalIP() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
				return n.IP.String()
			}
		}
	}
	return ""
}
