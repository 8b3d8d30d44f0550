// Command client finds a healthy TimeService by its tag in the registry at
// CONSUL_HTTP_ADDR (by default 127.0.0.1:8500), asks it for the time and prints it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/skerryhq/skerry/examples/timeservice/timepb"
)

func main() {
	name := flag.String("name", "time", "name of the service")
	tag := flag.String("tag", "master", "tag of the instances to use")
	zone := flag.String("zone", "", "IANA time zone; default UTC")
	wait := flag.Duration("wait", 15*time.Second, "how long to wait for a healthy instance")
	flag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), *wait)
	defer stop()
	if err := run(ctx, *name, *tag, *zone); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name, tag, zone string) error {
	registry, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	address, err := discover(ctx, registry, name, tag)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	now, err := timepb.NewTimeServiceClient(conn).Now(ctx, &timepb.NowRequest{Zone: zone})
	if err != nil {
		return fmt.Errorf("asking %s: %w", address, err)
	}
	fmt.Printf("%s (%s at %s)\n", now.GetTime(), now.GetInstance(), address)
	return nil
}

// discover returns the address of a healthy instance. While there is none it
// waits, woken by the registry.
func discover(ctx context.Context, registry *api.Client, name, tag string) (string, error) {
	for index := uint64(0); ; {
		q := (&api.QueryOptions{WaitIndex: index}).WithContext(ctx)
		found, meta, err := registry.Health().Service(name, tag, true, q)
		if ctx.Err() != nil {
			return "", fmt.Errorf("no healthy instance of %s with tag %s", name, tag)
		}
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			s, host := found[0].Service, found[0].Service.Address
			if host == "" {
				host = found[0].Node.Address
			}
			return net.JoinHostPort(host, strconv.Itoa(s.Port)), nil
		}
		index = meta.LastIndex
	}
}
