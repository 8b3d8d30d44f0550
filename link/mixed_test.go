package link_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/test/program"
)

// A server that takes both kinds of connections has streams of either, and those with TLS are for the node of their certificate.
func TestStreamsWithTLSAndWithout(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	kind := link.Kind{Name: "echo"}
	taken := make(chan string, 10)
	l, err := link.Listen("127.0.0.1:0", link.Config{
		Self: link.Introduction{Name: "s1", Datacenter: "dc1"}, Log: slog.New(slog.DiscardHandler),
		Streams: map[link.Kind]func(context.Context, *link.Stream){kind: func(_ context.Context, s *link.Stream) {
			taken <- s.Node
			s.Receive()
		}},
		TLS: &link.Secure{Mixed: true, Config: &tls.Config{Certificates: cert.TLS.Certificates}, Peer: func(*tls.ConnectionState) link.Peer {
			return link.Peer{Node: "web1", Datacenter: "dc1"}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	var secure *tls.Config // none yet
	mixed := func(node string) *link.Dialer {
		d := link.NewDialer(node, nil)
		d.Mixed(func() *tls.Config { return secure })
		t.Cleanup(d.Close)
		return d
	}
	web := mixed("web1")
	open := func(d *link.Dialer) *link.Stream {
		t.Helper()
		s, err := d.Dial(t.Context(), l.Addr(), kind)
		if err != nil {
			t.Fatal(err)
		}
		<-taken
		return s
	}
	first := open(web)
	plain := open(link.NewDialer("db1", nil))
	defer plain.Close()
	if got := l.Plain(); !slices.Equal(got, []string{"db1", "web1"}) {
		t.Errorf("plain are %v", got)
	}
	if i, err := web.Ask(t.Context(), l.Addr()); err != nil || i.Name != "s1" {
		t.Errorf("an introduction: %+v %v", i, err)
	}
	secure = &tls.Config{InsecureSkipVerify: true} // it has joined
	web.ClosePlain()
	if _, err := first.Receive(); err == nil {
		t.Error("the plain stream is open")
	}
	second := open(web)
	defer second.Close()
	if err := program.Await(time.Minute, func() error {
		if got := l.Plain(); !slices.Equal(got, []string{"db1"}) {
			return fmt.Errorf("plain are %v", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if i, err := web.Ask(t.Context(), l.Addr()); err != nil || i.Name != "s1" {
		t.Errorf("an introduction: %+v %v", i, err)
	}
	if s, err := mixed("web2").Dial(t.Context(), l.Addr(), kind); err == nil {
		s.Close()
		t.Error("a stream with the certificate of another node is taken")
	}
}
