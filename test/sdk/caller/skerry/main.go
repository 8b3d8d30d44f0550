// Command skerry is the callers of skerry_p2c, which find and call as this project does.
// All are of one client, as they would be in one program.
package main

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/consul"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
	"github.com/skerryhq/skerry/test/sdk/load"
	"github.com/skerryhq/skerry/test/sdk/work"
)

func main() { load.Main(dialer) }

func dialer(s *load.Settings) (d load.Dialer, err error) {
	find := s.Find
	if !strings.Contains(find, "://") {
		find = "direct:///" + find
	}
	c, err := client.Open(find, client.WithCacheDir(s.Cache))
	if err != nil {
		return d, err
	}
	first := make(chan struct{})
	go func() {
		var once sync.Once
		for l := range c.Watch(context.Background(), s.Service) {
			if len(l.Instances) > 0 {
				once.Do(func() { close(first) })
			}
		}
	}()
	var opts []skerrygrpc.Option
	if s.Retry {
		opts = append(opts, skerrygrpc.Retry(work.Service))
	}
	options := append(skerrygrpc.DialOptions(c, opts...), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if s.Retry {
		// One retry, as the peers have it.
		options = append(options, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+skerrygrpc.Balancer+`":{}}],"healthCheckConfig":{"serviceName":""},`+load.RetryPolicy+`}`))
	}
	return load.Dialer{First: first, One: func() (grpc.ClientConnInterface, error) { return grpc.NewClient("skerry:///"+s.Service, options...) }}, nil
}
