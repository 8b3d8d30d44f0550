// Command server is a TimeService that keeps itself registered in whichever registry the
// URL names, and ends on SIGTERM without failing a call.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/skerryhq/skerry/client"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
	skerryhttp "github.com/skerryhq/skerry/client/http"
	_ "github.com/skerryhq/skerry/examples/timeservice/sources"
	"github.com/skerryhq/skerry/examples/timeservice/timepb"
)

func main() {
	registry := flag.String("registry", "skerry://127.0.0.1:8500", "`URL` of the registry")
	name := flag.String("name", "time", "`name` of the service")
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on for gRPC")
	web := flag.String("http", "", "`address` to listen on for HTTP too, as the service NAME-http")
	host := flag.String("advertise", "", "`host` by which callers reach this one, such as a pod's IP; default: where it listens")
	drain := flag.Duration("drain", 30*time.Second, "longest `time` to serve on until callers know that this server ends; 0: it withdraws and ends at once, and calls may fail")
	faulty := flag.Bool("faulty", false, "let signal HUP switch on, and off again, that every second call fails")
	flag.Parse()
	if err := run(*registry, *name, *listen, *web, *host, *drain, *faulty); err != nil {
		log.Fatal(err)
	}
}

func run(registry, name, listen, web, host string, drain time.Duration, faulty bool) error {
	source, err := client.OpenSource(registry)
	if err != nil {
		return fmt.Errorf("-registry: %w", err)
	}
	if _, ok := source.(client.Registry); !ok {
		log.Printf("-registry %s is read-only: callers find this server only if the list has its address", client.Redact(registry))
		source = nowhere{source}
	}
	c := client.New(source, client.WithLogger(slog.Default()))
	defer c.Close()

	l, at, err := listenOn("-listen", listen, host)
	if err != nil {
		return err
	}
	t := &clock{instance: name + "-" + at}
	if faulty {
		go t.obey()
	}
	s := grpc.NewServer(skerrygrpc.ServerOptions()...)
	timepb.RegisterTimeServiceServer(s, t)
	registration := []client.RegisterOption{client.WithDrain(drain)}
	if drain == 0 {
		registration = append(registration, client.WithPropagation(0))
	}
	// Each Serve ends by itself on SIGTERM: it withdraws, waits until callers know, and
	// ends the calls under way.
	var all errgroup.Group
	all.Go(func() error {
		return skerrygrpc.Serve(context.Background(), s, l, c, client.Instance{Service: name, ID: t.instance, Address: at}, skerrygrpc.WithRegistration(registration...))
	})
	log.Printf("%s serves gRPC", t.instance)
	if web != "" {
		l, at, err := listenOn("-http", web, host)
		if err != nil {
			return err
		}
		t := &clock{instance: name + "-http-" + at}
		all.Go(func() error {
			return skerryhttp.Serve(context.Background(), &http.Server{Handler: t}, l, c, client.Instance{Service: name + "-http", ID: t.instance, Address: at}, skerryhttp.WithRegistration(registration...))
		})
		log.Printf("%s serves HTTP", t.instance)
	}
	return all.Wait()
}

// listenOn returns a listener and the address by which callers reach it.
func listenOn(flag, address, host string) (net.Listener, string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w: choose another address, such as 127.0.0.1:0 for any free port", flag, err)
	}
	at := l.Addr().(*net.TCPAddr)
	if host == "" && at.IP.IsUnspecified() {
		return nil, "", fmt.Errorf("%s %s: callers cannot call all addresses: say -advertise HOST", flag, address)
	}
	if host == "" {
		host = at.IP.String()
	}
	return l, net.JoinHostPort(host, fmt.Sprint(at.Port)), nil
}

// nowhere is a read-only source as a registry: that of servers which the platform
// registers, as Kubernetes does. They stop as all others do.
type nowhere struct{ client.Source }

func (nowhere) Announce(_ client.Instance, _ time.Duration, report func(error)) client.Announcement {
	report(nil)
	return nowhere{}
}

func (nowhere) Withdraw(context.Context, time.Duration) (client.Withdrawal, error) {
	return client.Withdrawal{}, nil
}
