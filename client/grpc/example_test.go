package skerrygrpc_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
)

// A server is registered as long as it runs, and called by its service's name. In
// earnest the client comes of client.Open("skerry://127.0.0.1:8500").
func Example() {
	c := client.New(&clienttest.Manual{}, client.WithCacheDir(""))
	defer c.Close()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(skerrygrpc.ServerOptions()...)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- skerrygrpc.Serve(ctx, server, listener, c, client.Instance{Service: "orders"}) }()

	conn, err := grpc.NewClient("skerry:///orders", append(skerrygrpc.DialOptions(c, skerrygrpc.Retry("grpc.health.v1.Health/Check")),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)

	conn.Close()
	stop() // or SIGTERM
	fmt.Println(<-ended)
	// Output:
	// SERVING <nil>
	// <nil>
}
