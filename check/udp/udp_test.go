package udp

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// listen opens a UDP socket that answers, or that keeps silent. got is what it received.
func listen(t *testing.T, answers bool) (address string, got <-chan string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			received <- string(buf[:n])
			if answers {
				conn.WriteTo([]byte("yes"), from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String(), received
}

func TestUDP(t *testing.T) {
	loud, got := listen(t, true)
	silent, _ := listen(t, false)
	tests := []struct {
		address string
		timeout time.Duration
		status  skerry.Health
		output  string
	}{
		{loud, 10 * time.Second, skerry.Passing, "UDP connect " + loud + ": Success"},
		{silent, 50 * time.Millisecond, skerry.Passing, "UDP connect " + silent + ": Success"},
		{"127.0.0.1:1", 10 * time.Second, skerry.Critical, "read: connection refused"},
		{"127.0.0.1", 10 * time.Second, skerry.Critical, "missing port in address"},
	}
	for _, tt := range tests {
		p, err := Kind().New(&skerry.CheckDefinition{UDP: tt.address})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
		r := p.Check(ctx)
		cancel()
		if r.Status != tt.status || !strings.HasSuffix(r.Output, tt.output) {
			t.Errorf("%s: %q", tt.address, r)
		}
	}
	if sent := <-got; sent != "\n" {
		t.Errorf("the peer received %q", sent)
	}
}
