// Package grpc is the check that asks a server by gRPC's standard health protocol.
package grpc

import (
	"context"
	"fmt"
	"strings"
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
		New:     func(d *skerry.CheckDefinition) (check.Prober, error) { return newProber(d), nil },
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
	status, err := p.ask(ctx)
	switch {
	case err != nil:
		return check.Result{Status: skerry.Critical, Output: check.Truncate(err.Error(), p.outputMax)}
	case status != healthpb.HealthCheckResponse_SERVING:
		return check.Result{Status: skerry.Critical, Output: fmt.Sprintf("gRPC check %s: serving status is %s", p.target, status)}
	}
	return check.Result{Status: skerry.Passing, Output: "gRPC check " + p.target + ": success"}
}

func (p *prober) ask(ctx context.Context) (healthpb.HealthCheckResponse_ServingStatus, error) {
	// passthrough: the dialer resolves names, at each run, as it does for TCP checks.
	conn, err := grpc.NewClient("passthrough:///"+p.address,
		grpc.WithTransportCredentials(p.credentials),
		grpc.WithUserAgent("Skerry Health Check"),
		grpc.WithNoProxy(),
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
