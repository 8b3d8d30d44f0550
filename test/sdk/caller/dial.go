package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/consul"
	_ "github.com/skerryhq/skerry/client/etcd"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
	"github.com/skerryhq/skerry/test/sdk/work"
)

// goZeroScheme finds as go-zero does.
const goZeroScheme = "gozero://"

// dial returns the connections of all callers; first is closed when there is a list.
func dial(s *settings) (conns []grpc.ClientConnInterface, first <-chan struct{}, err error) {
	var one func() (grpc.ClientConnInterface, error)
	switch s.policy {
	case "skerry_p2c":
		one, first, err = skerry(s)
	case "p2c_ewma":
		one = func() (grpc.ClientConnInterface, error) { return goZero(s) }
	case "round_robin":
		one = func() (grpc.ClientConnInterface, error) { return roundRobin(s) }
	default:
		err = fmt.Errorf("unknown policy %q", s.policy)
	}
	if err != nil {
		return nil, nil, err
	}
	for range s.callers {
		c, err := one()
		if err != nil {
			return nil, nil, err
		}
		conns = append(conns, c)
	}
	if first == nil {
		first = connected(conns[0].(*grpc.ClientConn))
	}
	return conns, first, nil
}

// connected is closed when a connection can take calls.
func connected(c *grpc.ClientConn) <-chan struct{} {
	first := make(chan struct{})
	c.Connect()
	go func() {
		for s := c.GetState(); s != connectivity.Ready; s = c.GetState() {
			c.WaitForStateChange(context.Background(), s)
		}
		close(first)
	}()
	return first
}

// skerry finds and calls as this project does. All callers are of one client, as they
// would be in one program.
func skerry(s *settings) (func() (grpc.ClientConnInterface, error), <-chan struct{}, error) {
	find := s.find
	if !strings.Contains(find, "://") {
		find = "direct:///" + find
	}
	c, err := client.Open(find, client.WithCacheDir(s.cache))
	if err != nil {
		return nil, nil, err
	}
	first := make(chan struct{})
	go func() {
		var once sync.Once
		for l := range c.Watch(context.Background(), s.service) {
			if len(l.Instances) > 0 {
				once.Do(func() { close(first) })
			}
		}
	}()
	var opts []skerrygrpc.Option
	if s.retry {
		opts = append(opts, skerrygrpc.Retry(work.Service))
	}
	options := append(skerrygrpc.DialOptions(c, opts...), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if s.retry {
		// One retry, as the peers have it.
		options = append(options, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+skerrygrpc.Balancer+`":{}}],"healthCheckConfig":{"serviceName":""},`+retryPolicy+`}`))
	}
	return func() (grpc.ClientConnInterface, error) { return grpc.NewClient("skerry:///"+s.service, options...) }, first, nil
}

// retryPolicy is one retry.
const retryPolicy = `"methodConfig":[{"name":[{"service":"` + work.Service + `"}],"retryPolicy":{"maxAttempts":2,"initialBackoff":"0.01s","maxBackoff":"0.1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]`

// goZero finds and calls as a go-zero program does, with the settings that its
// configuration has by default. Of its middlewares only that of the deadline is on:
// what is measured is the balancer, and its breaker would be shared by callers that
// stand for processes of their own.
func goZero(s *settings) (grpc.ClientConnInterface, error) {
	var c zrpc.RpcClientConf
	if err := conf.FillDefault(&c); err != nil {
		return nil, err
	}
	if hosts, ok := strings.CutPrefix(s.find, goZeroScheme); ok {
		c.Etcd = discov.EtcdConf{Hosts: strings.Split(hosts, ","), Key: s.service}
	} else {
		c.Endpoints = strings.Split(s.find, ",")
	}
	c.Timeout = (2 * time.Second).Milliseconds()
	c.Middlewares = zrpc.ClientMiddlewaresConf{Timeout: true}
	var opts []zrpc.ClientOption
	if s.retry {
		opts = append(opts, zrpc.WithDialOption(grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy":"p2c_ewma",`+retryPolicy+`}`)))
	}
	z, err := zrpc.NewClient(c, opts...)
	if err != nil {
		return nil, err
	}
	return z.Conn(), nil
}

// roundRobin calls as grpc-go does by itself, from a list.
func roundRobin(s *settings) (grpc.ClientConnInterface, error) {
	m := manual.NewBuilderWithScheme("list")
	var state resolver.State
	for _, a := range strings.Split(s.find, ",") {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	m.InitialState(state)
	config := `{"loadBalancingConfig":[{"round_robin":{}}]`
	if s.retry {
		config += "," + retryPolicy
	}
	return grpc.NewClient("list:///"+s.service, grpc.WithResolvers(m), grpc.WithDefaultServiceConfig(config+"}"), grpc.WithTransportCredentials(insecure.NewCredentials()))
}
