// Package grpc is the check that asks a server by gRPC's standard health protocol.
package grpc

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// Kind returns the row of the table.
func Kind() check.Kind {
	return check.Kind{
		Name:    "grpc",
		Matches: func(d *skerry.CheckDefinition) bool { return d.GRPC != "" },
		Timeout: 10 * time.Second,
		Peers: func(d *skerry.CheckDefinition) []string {
			address, _ := split(d.GRPC)
			return []string{address}
		},
		New: func(d *skerry.CheckDefinition) (check.Prober, error) { return newProber(d), nil },
	}
}

type prober struct {
	target, address, service string
	credentials              credentials.TransportCredentials
	outputMax                int
}

func newProber(d *skerry.CheckDefinition) *prober {
	p := &prober{target: d.GRPC, credentials: insecure.NewCredentials(), outputMax: d.OutputMaxSize}
	p.address, p.service = split(d.GRPC)
	if d.GRPCUseTLS {
		p.credentials = credentials.NewTLS(check.TLSConfig(d))
	}
	return p
}

// split cuts "host:port/service" in two. Without a service the server as a whole
// is asked for.
func split(target string) (address, service string) {
	address, service, _ = strings.Cut(target, "/")
	return address, service
}

// Check implements [check.Prober].
func (p *prober) Check(ctx context.Context) check.Result {
	var d dialer
	status, err := p.ask(ctx, &d)
	switch {
	case err != nil && check.FaultOf(d.failed()) != "":
		return check.Failed(d.failed())
	case err != nil:
		r := check.Failed(err)
		r.Output = check.Truncate(r.Output, p.outputMax)
		return r
	case status != healthpb.HealthCheckResponse_SERVING:
		return check.Result{Status: skerry.Critical, Output: fmt.Sprintf("gRPC check %s: serving status is %s", p.target, status)}
	}
	return check.Result{Status: skerry.Passing, Output: "gRPC check " + p.target + ": success"}
}

// dialer keeps the last error of a connection: gRPC reports only its text.
type dialer struct {
	mu  sync.Mutex
	err error
}

func (d *dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err = err; ctx.Err() != nil {
		d.err = nil // it was called off
	}
	return conn, err
}

func (d *dialer) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (p *prober) ask(ctx context.Context, d *dialer) (healthpb.HealthCheckResponse_ServingStatus, error) {
	// passthrough: the dialer resolves names, at each run, as it does for TCP checks.
	conn, err := grpc.NewClient("passthrough:///"+p.address,
		grpc.WithTransportCredentials(p.credentials),
		grpc.WithUserAgent("Skerry Health Check"),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(d.dial),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<10)),
	)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: p.service})
	return answer.GetStatus(), err
}
