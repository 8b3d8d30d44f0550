package grpc

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skerryhq/skerry"
)

func serve(t *testing.T, opts ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := health.NewServer()
	h.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("a/b", healthpb.HealthCheckResponse_SERVING)
	s := grpc.NewServer(opts...)
	healthpb.RegisterHealthServer(s, h)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

func TestGRPC(t *testing.T) {
	plain := serve(t)
	web := httptest.NewUnstartedServer(nil) // only for its certificate
	web.StartTLS()
	defer web.Close()
	secure := serve(t, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: web.TLS.Certificates})))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	tests := []struct {
		name   string
		d      skerry.CheckDefinition
		status skerry.Health
		output string
	}{
		{"server", skerry.CheckDefinition{GRPC: plain}, skerry.Passing, "gRPC check " + plain + ": success"},
		{"service", skerry.CheckDefinition{GRPC: plain + "/a/b"}, skerry.Passing, "gRPC check " + plain + "/a/b: success"},
		{"not serving", skerry.CheckDefinition{GRPC: plain + "/down"}, skerry.Critical, "serving status is NOT_SERVING"},
		{"unknown service", skerry.CheckDefinition{GRPC: plain + "/none"}, skerry.Critical, "unknown service"},
		{"refused", skerry.CheckDefinition{GRPC: "127.0.0.1:1"}, skerry.Critical, "connection refused"},
		{"TLS", skerry.CheckDefinition{GRPC: secure, GRPCUseTLS: true, TLSSkipVerify: true}, skerry.Passing, "success"},
		{"unknown authority", skerry.CheckDefinition{GRPC: secure, GRPCUseTLS: true}, skerry.Critical, "failed to verify certificate"},
		{"silent", skerry.CheckDefinition{GRPC: silent.Addr().String()}, skerry.Critical, ""},
	}
	for _, tt := range tests {
		tt.d.OutputMaxSize = 4096
		p, err := Kind().New(&tt.d)
		if err != nil {
			t.Fatal(err)
		}
		timeout := 10 * time.Second
		if tt.name == "silent" {
			timeout = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		r := p.Check(ctx)
		cancel()
		if r.Status != tt.status || !strings.Contains(r.Output, tt.output) {
			t.Errorf("%s: %q", tt.name, r)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"127.0.0.1:1", "[::1]:1/a", "h:1/a/b", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		address, service := split(target)
		if strings.Contains(address, "/") {
			t.Errorf("address %q of %q", address, target)
		}
		if joined := address + "/" + service; joined != target && joined != target+"/" {
			t.Errorf("%q was cut into %q and %q", target, address, service)
		}
	})
}
