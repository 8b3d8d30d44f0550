package door

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A connection that does not end its handshake in time is closed then, whatever it has
// sent; one that does may take its time with requests.
func TestAHandshakeHasToEndInTime(t *testing.T) {
	const within = 300 * time.Millisecond
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sample := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(sample.Close)
	quiet := slog.New(slog.DiscardHandler)
	s := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }), Limits{}, newIntake(Shares{Limit: 1000, Clients: 80}, quiet), quiet)
	go s.serve(listenTLS(inner, sample.TLS, within))
	t.Cleanup(s.stop)

	for name, sent := range map[string]string{"silent": "", "a part of a hello": "\x16\x03\x01\x02\x00\x01"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			c, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, sent)
			c.SetReadDeadline(began.Add(8 * time.Second))
			if _, err := io.ReadAll(c); err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Fatal("it is still open")
				}
			}
			if took := time.Since(began); took < within || took > within+3*time.Second {
				t.Errorf("closed after %v, want %v", took, within)
			}
		})
	}
	t.Run("slow between requests", func(t *testing.T) {
		t.Parallel()
		c, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(2 * within)
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || len(b) == 0 {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A connection whose handshake is bounded is found by the bound on all connections.
func TestShakingConnectionsAreCounted(t *testing.T) {
	c := &clientConn{}
	if unwrapped(tls.Server(&shaking{Conn: c}, &tls.Config{})) != c {
		t.Error("the client's connection is not found beneath TLS")
	}
}
