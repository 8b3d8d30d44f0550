package tcp

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

func TestTCP(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	tlsServer := httptest.NewTLSServer(nil)
	defer tlsServer.Close()
	open, secure := plain.Addr().String(), tlsServer.Listener.Addr().String()

	tests := []struct {
		name   string
		d      skerry.CheckDefinition
		status skerry.Health
		output string // its beginning
	}{
		{"open", skerry.CheckDefinition{TCP: open}, skerry.Passing, "TCP connect " + open + ": Success"},
		{"closed", skerry.CheckDefinition{TCP: "127.0.0.1:1"}, skerry.Critical, "dial tcp 127.0.0.1:1: connect: connection refused"},
		{"no port", skerry.CheckDefinition{TCP: "127.0.0.1"}, skerry.Critical, "dial tcp: address 127.0.0.1: missing port in address"},
		{"unknown authority", skerry.CheckDefinition{TCP: secure, TCPUseTLS: true}, skerry.Critical, "tls: failed to verify certificate"},
		{"not verified", skerry.CheckDefinition{TCP: secure, TCPUseTLS: true, TLSSkipVerify: true}, skerry.Passing, "TCP connect " + secure + ": Success"},
		{"silent instead of TLS", skerry.CheckDefinition{TCP: open, TCPUseTLS: true}, skerry.Critical, ""},
	}
	for _, tt := range tests {
		p, err := Kind().New(&tt.d)
		if err != nil {
			t.Fatal(err)
		}
		timeout := 10 * time.Second
		if tt.output == "" {
			timeout = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		r := p.Check(ctx)
		cancel()
		if r.Status != tt.status || !strings.HasPrefix(r.Output, tt.output) || r.Output == "" {
			t.Errorf("%s: %q", tt.name, r)
		}
	}
}
