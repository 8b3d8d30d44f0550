// Command consulclient is a TimeService with Consul's own Go client, without Skerry's
// packages: it registers with the agent at CONSUL_HTTP_ADDR, by default 127.0.0.1:8500,
// with a TCP check, and withdraws when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry/examples/timeservice/timepb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:50051", "`address` to listen on")
	name := flag.String("name", "time", "name of the service")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *name); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, name string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	registry, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	instance := registration(name, l.Addr().(*net.TCPAddr))
	server := grpc.NewServer()
	timepb.RegisterTimeServiceServer(server, &clock{instance: instance.ID})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	if err := registry.Agent().ServiceRegister(instance); err != nil {
		server.Stop()
		return fmt.Errorf("cannot register: %w", err)
	}
	log.Printf("%s listens on %s and is registered", instance.ID, l.Addr())
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	// First new callers are kept away, then the present ones are served.
	if gone := registry.Agent().ServiceDeregister(instance.ID); gone != nil {
		log.Printf("cannot withdraw %s: %v", instance.ID, gone)
	} else {
		log.Printf("%s is withdrawn", instance.ID)
	}
	server.GracefulStop()
	return err
}

func registration(name string, at *net.TCPAddr) *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		ID:      name + "-" + strconv.Itoa(at.Port),
		Name:    name,
		Tags:    []string{"master"},
		Address: at.IP.String(),
		Port:    at.Port,
		Check: &api.AgentServiceCheck{
			Name:     "the port takes connections",
			TCP:      at.String(),
			Interval: "10s",
			Timeout:  "3s",
		},
	}
}

// clock implements the TimeService.
type clock struct {
	timepb.UnimplementedTimeServiceServer
	instance string
}

// Now implements [timepb.TimeServiceServer].
func (c *clock) Now(_ context.Context, req *timepb.NowRequest) (*timepb.NowResponse, error) {
	zone, err := time.LoadLocation(req.GetZone())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "zone: %v", err)
	}
	return &timepb.NowResponse{Time: time.Now().In(zone).Format(time.RFC3339), Instance: c.instance}, nil
}
