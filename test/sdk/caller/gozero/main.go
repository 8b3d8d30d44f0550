// Command gozero is the callers of p2c_ewma, which find and call as a go-zero program
// does, with the settings that its configuration has by default. Of its middlewares only
// that of the deadline is on: the balancer is measured, and its breaker would be shared
// by callers that stand for processes of their own.
package main

import (
	"strings"
	"time"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"

	"github.com/skerryhq/skerry/test/sdk/load"
)

func main() {
	logx.Disable() // its statistics would be written among the records
	load.Main(dialer)
}

func dialer(s *load.Settings) (d load.Dialer, err error) {
	var c zrpc.RpcClientConf
	if err := conf.FillDefault(&c); err != nil {
		return d, err
	}
	if hosts, ok := strings.CutPrefix(s.Find, "gozero://"); ok { // in etcd
		c.Etcd = discov.EtcdConf{Hosts: strings.Split(hosts, ","), Key: s.Service}
	} else {
		c.Endpoints = strings.Split(s.Find, ",")
	}
	c.Timeout = (2 * time.Second).Milliseconds()
	c.Middlewares = zrpc.ClientMiddlewaresConf{Timeout: true}
	var opts []zrpc.ClientOption
	if s.Retry {
		opts = append(opts, zrpc.WithDialOption(grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy":"p2c_ewma",`+load.RetryPolicy+`}`)))
	}
	return load.Dialer{One: func() (grpc.ClientConnInterface, error) {
		z, err := zrpc.NewClient(c, opts...)
		if err != nil {
			return nil, err
		}
		return z.Conn(), nil
	}}, nil
}
