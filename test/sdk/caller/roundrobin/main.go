// Command roundrobin is the callers of round_robin, which call as grpc-go does by
// itself, from a list.
package main

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/skerryhq/skerry/test/sdk/load"
)

func main() { load.Main(dialer) }

func dialer(s *load.Settings) (load.Dialer, error) {
	var state resolver.State
	for _, a := range strings.Split(s.Find, ",") {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	config := `{"loadBalancingConfig":[{"round_robin":{}}]`
	if s.Retry {
		config += "," + load.RetryPolicy
	}
	return load.Dialer{One: func() (grpc.ClientConnInterface, error) {
		m := manual.NewBuilderWithScheme("list")
		m.InitialState(state)
		return grpc.NewClient("list:///"+s.Service, grpc.WithResolvers(m), grpc.WithDefaultServiceConfig(config+"}"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	}}, nil
}
