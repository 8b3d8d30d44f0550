// Command client calls the TimeService in whichever registry the URL names, and prints
// every second how that went.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/debug"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
	skerryhttp "github.com/skerryhq/skerry/client/http"
	skerryprometheus "github.com/skerryhq/skerry/client/prometheus"
	_ "github.com/skerryhq/skerry/examples/timeservice/sources"
	"github.com/skerryhq/skerry/examples/timeservice/timepb"
)

// A call that has no answer after hedgeAfter is sent to another instance too; one that
// has none after callWithin has failed.
const (
	hedgeAfter = 100 * time.Millisecond
	callWithin = 2 * time.Second
)

type settings struct {
	registry, name, zone, debug string
	web, once                   bool
	calls, rate                 int
	duration                    time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.registry, "registry", "skerry://127.0.0.1:8500", "`URL` of the registry")
	flag.StringVar(&s.name, "name", "time", "`name` of the service")
	flag.StringVar(&s.zone, "zone", "", "IANA time `zone` to ask for; default UTC")
	flag.BoolVar(&s.web, "http", false, "call by HTTP, the service NAME-http, in place of gRPC")
	flag.BoolVar(&s.once, "once", false, "call as if a call must not be made twice: no retries, no hedges, POST in place of GET")
	flag.IntVar(&s.calls, "calls", 0, "end after so many calls; default: never")
	flag.IntVar(&s.rate, "rate", 10, "calls per second")
	flag.DurationVar(&s.duration, "for", 0, "end after this time; default: never")
	flag.StringVar(&s.debug, "debug", "", "`address` at which to show /debug/skerry and /metrics; keep it from strangers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		log.Fatal(err)
	}
}

// call asks for the time, and returns it with the instance that answered.
type call func(ctx context.Context) (now, instance string, err error)

func run(ctx context.Context, s settings) error {
	if s.rate <= 0 {
		return fmt.Errorf("-rate %d: give a number of calls per second, such as 10", s.rate)
	}
	c, err := client.Open(s.registry, client.WithLogger(slog.Default()))
	if err != nil {
		return fmt.Errorf("-registry: %w", err)
	}
	defer c.Close()
	if s.debug != "" {
		if err := show(s.debug, c); err != nil {
			return err
		}
	}
	if s.web {
		method, options := http.MethodGet, []skerryhttp.Option{skerryhttp.WithHedging(hedgeAfter)}
		if s.once {
			method, options = http.MethodPost, nil
		}
		t := skerryhttp.NewTransport(c, options...)
		defer t.Close()
		return s.load(ctx, c, s.name+"-http", byHTTP(t, method, s.name+"-http", s.zone))
	}
	const idempotent = "skerry.examples.time.TimeService/Now"
	options := skerrygrpc.DialOptions(c, skerrygrpc.Retry(idempotent), skerrygrpc.Hedge(hedgeAfter, idempotent))
	if s.once {
		options = skerrygrpc.DialOptions(c)
	}
	conn, err := grpc.NewClient("skerry:///"+s.name, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return fmt.Errorf("-name %q: %w", s.name, err)
	}
	defer conn.Close()
	return s.load(ctx, c, s.name, byGRPC(timepb.NewTimeServiceClient(conn), s.zone))
}

func byGRPC(t timepb.TimeServiceClient, zone string) call {
	return func(ctx context.Context) (string, string, error) {
		now, err := t.Now(ctx, &timepb.NowRequest{Zone: zone})
		return now.GetTime(), now.GetInstance(), err
	}
}

func byHTTP(t *skerryhttp.Transport, method, name, zone string) call {
	hc := &http.Client{Transport: t}
	return func(ctx context.Context) (now, instance string, err error) {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+name+"/now?"+url.Values{"zone": {zone}}.Encode(), nil)
		if err != nil {
			return "", "", err
		}
		resp, err := hc.Do(req)
		if err != nil {
			return "", "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, body)
		}
		now, instance, _ = strings.Cut(strings.TrimSpace(string(body)), " ")
		return now, instance, err
	}
}

// load makes the calls, each when its time has come, whether or not others have ended.
func (s settings) load(ctx context.Context, c *client.Client, service string, call call) error {
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	var calls sync.WaitGroup
	var st stats
	next, line := time.NewTicker(time.Second/time.Duration(s.rate)), time.NewTicker(time.Second)
	defer next.Stop()
	defer line.Stop()
	for n := 0; s.calls == 0 || n < s.calls; {
		select {
		case <-line.C:
			st.print(c, service)
			continue
		case <-next.C:
			n++
			calls.Go(func() {
				// A call that has begun is not broken off when the program ends.
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWithin)
				defer cancel()
				began := time.Now()
				now, instance, err := call(within)
				st.add(now, instance, time.Since(began), err)
			})
			continue
		case <-ctx.Done():
		}
		break
	}
	calls.Wait()
	st.print(c, service)
	return st.total()
}

// show serves the page and the metrics of the SDK.
func show(address string, c *client.Client) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("-debug: %w: choose another address", err)
	}
	group := client.GroupOf("timeservice", c)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(skerryprometheus.NewCollector(group))
	mux := http.NewServeMux()
	mux.Handle("/debug/skerry", debug.Handler(group))
	mux.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	log.Printf("http://%s/debug/skerry and /metrics show why calls go where they go", l.Addr())
	go func() { log.Print(http.Serve(l, mux)) }()
	return nil
}
