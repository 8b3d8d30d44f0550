package skerrygrpc

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
)

var plaintext = grpc.WithTransportCredentials(insecure.NewCredentials())

// shares makes calls and reports how many servers have had one.
func shares(t *testing.T, conn *grpc.ClientConn, backends []*backend) (called int) {
	t.Helper()
	for range 50 {
		if err := invoke(conn, 5*time.Second, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range backends {
		if b.calls.Load() > 0 {
			called++
		}
	}
	return called
}

// A target says all by itself, and is balanced over.
func TestTargetOptions(t *testing.T) {
	backends := serveAll(t, 3, true)
	conn, err := grpc.NewClient("direct:///"+strings.Join(addresses(backends), ","), append(TargetOptions(), plaintext)...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, 10*time.Second, "all servers are called", func() bool { return shares(t, conn, backends) == 3 })
}

// Programs whose dial options nobody can change find by what is registered with gRPC,
// with the balancer by its name, by another, or as the resolver says.
func TestRegistered(t *testing.T) {
	RegisterBalancer("somebodys_p2c")
	backends := serveAll(t, 3, true)
	m := &clienttest.Manual{}
	m.Set("orders.rpc", addresses(backends)...)
	var opened atomic.Int64
	client.RegisterScheme("test-shared", func(client.Location) (client.Source, error) { opened.Add(1); return m, nil })
	noCache := WithClient(client.WithCacheDir(""))
	var group client.Group
	resolver.Register(NewTargetBuilder("test-shared", noCache, WithOpened(group.Add)))
	resolver.Register(NewTargetBuilder("direct", noCache, WithBalancing(), WithSplit(func(string) (string, string, error) {
		return "test-shared://", "orders.rpc", nil
	})))
	var conns []*grpc.ClientConn
	for _, c := range []struct {
		target string
		opts   []grpc.DialOption
	}{
		{"test-shared:///h1:1,h2:1/orders.rpc", []grpc.DialOption{grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy":"somebodys_p2c"}`)}},
		{"test-shared:///h1:1,h2:1/orders.rpc", []grpc.DialOption{grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"skerry_p2c":{}}]}`)}},
		{"direct:///anything", nil},
	} {
		conn, err := grpc.NewClient(c.target, append(c.opts, plaintext)...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		eventually(t, 10*time.Second, c.target+": all servers are called", func() bool { return shares(t, conn, backends) == 3 })
		for _, b := range backends {
			b.calls.Store(0)
		}
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("the source was opened %d times; want once for each builder that uses it", n)
	}
	if all := group.Explain(); len(all) != 1 || all[0].Name != "test-shared://h1:1,h2:1/" || len(all[0].Services) != 1 || len(all[0].Services[0].Balancers) != 2 {
		t.Errorf("the group knows %+v", all)
	} else if states := all[0].Services[0].Balancers[1].Instances; len(states) != 3 || states[0].OK == 0 || states[0].Share == 0 {
		t.Errorf("the balancer knows %+v", states)
	}
	for _, conn := range conns {
		conn.Close()
	}
	if all := group.Explain(); len(all) != 0 {
		t.Errorf("with all connections closed, the group knows %+v", all)
	}
	eventually(t, 5*time.Second, "nobody watches when all connections are closed", func() bool { return m.Watched("orders.rpc") == 0 })
}

func TestTargetMistakes(t *testing.T) {
	client.RegisterScheme("test-mistakes", func(l client.Location) (client.Source, error) {
		return nil, errors.New("unknown parameter")
	})
	for target, want := range map[string]string{
		"direct:///":                        "names no address",
		"direct:///?user=secret":            "names no address",
		"test-mistakes:///h:1/":             "names no service",
		"test-mistakes://h/orders?p=secret": "unknown parameter",
	} {
		conn, err := grpc.NewClient(target, append(TargetOptions(), plaintext)...)
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err = conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", target, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", target, err)
		}
	}
}
