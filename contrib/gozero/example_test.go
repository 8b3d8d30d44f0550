package gozero_test

import (
	"context"
	"fmt"
	"net"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	_ "github.com/skerryhq/skerry/contrib/gozero"
)

// A zrpc client, as ever. The import is all that is new.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	defer server.Stop()

	var c struct{ OrdersRpc zrpc.RpcClientConf }
	yaml := "OrdersRpc: {Endpoints: [" + listener.Addr().String() + "]}"
	if err := conf.LoadFromYamlBytes([]byte(yaml), &c); err != nil {
		panic(err)
	}
	client := zrpc.MustNewClient(c.OrdersRpc)
	defer client.Conn().Close()
	answer, err := healthpb.NewHealthClient(client.Conn()).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}
