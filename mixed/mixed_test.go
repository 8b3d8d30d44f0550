package mixed_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/mixed"
)

// server answers HTTP of both versions, with the connections of a listener.
func server(t *testing.T, wrap func(net.Listener, *tls.Config) net.Listener) (address string, client *tls.Config) {
	t.Helper()
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	t.Cleanup(cert.Close)
	secure := cert.TLS.Clone()
	secure.NextProtos = []string{"h2", "http/1.1"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		l = wrap(l, secure)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &p, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := "plain"
		if r.TLS != nil {
			kind = "TLS"
		}
		io.WriteString(w, kind+" "+r.Proto)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), &tls.Config{InsecureSkipVerify: true}
}

func get(t *testing.T, d *mixed.Dialer, address string, two bool) string {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(!two)
	p.SetUnencryptedHTTP2(two)
	p.SetHTTP2(two)
	protocol := map[bool]string{true: "h2", false: "http/1.1"}[two]
	tr := &http.Transport{Protocols: &p, DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return d.Dial(ctx, address, protocol)
	}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("https://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each kind of process reaches each other one, and with TLS if both have it.
func TestEachReachesEach(t *testing.T) {
	mix, secure := server(t, mixed.NewListener)
	alone, _ := server(t, tls.NewListener)
	plain, _ := server(t, nil)
	joined := mixed.NewDialer(func() *tls.Config { return secure }, time.Minute)
	early := mixed.NewDialer(func() *tls.Config { return nil }, time.Minute)
	for _, c := range []struct {
		d       *mixed.Dialer
		address string
		want    string
	}{
		{joined, mix, "TLS"}, {joined, alone, "TLS"}, {joined, plain, "plain"}, {early, mix, "plain"}, {early, plain, "plain"},
	} {
		for two, proto := range map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"} {
			if got := get(t, c.d, c.address, two); got != c.want+" "+proto {
				t.Errorf("%q: want %s %s", got, c.want, proto)
			}
		}
	}
	if conn, err := early.Dial(t.Context(), alone); err == nil { // it is refused with the first request
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if text, _ := io.ReadAll(conn); !strings.HasPrefix(string(text), "HTTP/1.0 400") {
			t.Errorf("a plain request over TLS: %q", text)
		}
	}
}

// A hello always has a line's end: a server of plain HTTP would wait for one.
func TestAPlainServerAnswersTheHelloAtOnce(t *testing.T) {
	plain, secure := server(t, nil)
	d := mixed.NewDialer(func() *tls.Config { return secure }, time.Minute)
	for range 300 {
		conn, err := d.Dial(t.Context(), plain, "h2")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

func TestACertificateThatIsRefusedIsNoReasonForAPlainConnection(t *testing.T) {
	mix, _ := server(t, mixed.NewListener)
	d := mixed.NewDialer(func() *tls.Config { return &tls.Config{ServerName: "elsewhere.example"} }, time.Minute)
	if conn, err := d.Dial(t.Context(), mix); err == nil {
		conn.Close()
		t.Error("a connection was made")
	}
}

// Closing ends the plain connections of a dialer, and a listener with connections that never spoke.
func TestClose(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := mixed.NewListener(inner, &tls.Config{})
	d := mixed.NewDialer(func() *tls.Config { return nil }, time.Minute)
	silent, err := d.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	spoke, err := d.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(spoke, "a")
	taken, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d.ClosePlain()
	if _, err := spoke.Write([]byte("b")); err == nil {
		t.Error("a plain connection is open")
	}
	if text, err := io.ReadAll(taken); string(text) != "a" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	silent.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("a closed listener takes a connection")
	}
}
