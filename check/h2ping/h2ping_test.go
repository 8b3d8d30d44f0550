package h2ping

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

func TestH2Ping(t *testing.T) {
	h2c := httptest.NewUnstartedServer(nil)
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	defer h2c.Close()
	h2 := httptest.NewUnstartedServer(nil)
	h2.EnableHTTP2 = true
	h2.StartTLS()
	defer h2.Close()
	h1 := httptest.NewTLSServer(nil)
	defer h1.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address := func(s *httptest.Server) string { return s.Listener.Addr().String() }

	tests := []struct {
		name   string
		d      skerry.CheckDefinition
		status skerry.Health
		output string
	}{
		{"without TLS", skerry.CheckDefinition{H2PING: address(h2c)}, skerry.Passing, "HTTP2 ping was successful"},
		{"TLS", skerry.CheckDefinition{H2PING: address(h2), H2PingUseTLS: true, TLSSkipVerify: true}, skerry.Passing, "HTTP2 ping was successful"},
		{"unknown authority", skerry.CheckDefinition{H2PING: address(h2), H2PingUseTLS: true}, skerry.Critical, "failed to verify certificate"},
		{"TLS without HTTP2", skerry.CheckDefinition{H2PING: address(h1), H2PingUseTLS: true, TLSSkipVerify: true}, skerry.Critical, "no application protocol"},
		{"refused", skerry.CheckDefinition{H2PING: "127.0.0.1:1"}, skerry.Critical, "dial tcp 127.0.0.1:1: connect: connection refused"},
		{"silent", skerry.CheckDefinition{H2PING: silent.Addr().String()}, skerry.Critical, "HTTP2 ping of"},
	}
	for _, tt := range tests {
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
