package link_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/link"
)

// listen runs a listener that serves streams, and returns its address.
func listen(t *testing.T, cfg link.Config) (at string, stop func()) {
	t.Helper()
	cfg.Self, cfg.Log = link.Introduction{Name: "s1", Datacenter: "dc1"}, slog.New(slog.DiscardHandler)
	l, err := link.Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return l.Addr(), stop
}

var echoes = link.Kind{Name: "echo"}

func serving(serve func(context.Context, *link.Stream)) map[link.Kind]func(context.Context, *link.Stream) {
	return map[link.Kind]func(context.Context, *link.Stream){echoes: serve}
}

func dial(t *testing.T, at string) *link.Stream {
	t.Helper()
	d := link.NewDialer("web1", nil)
	s, err := d.Dial(t.Context(), at, echoes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); d.Close() })
	return s
}

// echo answers each frame with the node's name and the frame.
func echo(ctx context.Context, s *link.Stream) {
	for {
		frame, err := s.Receive()
		if err != nil || s.Send(append([]byte(s.Node+" "), frame...)) != nil {
			return
		}
	}
}

func TestStreamsCarryFramesBothWays(t *testing.T) {
	at, stop := listen(t, link.Config{Streams: serving(echo)})
	s := dial(t, at)
	if s.Node != "s1" {
		t.Errorf("the other end is %q", s.Node)
	}
	for _, frame := range [][]byte{[]byte("a"), bytes.Repeat([]byte("large "), 1<<20)} {
		if err := s.Send(frame); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Receive(); err != nil || string(got) != "web1 "+string(frame) {
			t.Fatalf("%d bytes come back as %d, %v", len(frame), len(got), err)
		}
	}
	if err := s.Send(make([]byte, link.MaxFrame+1)); err == nil {
		t.Error("a frame that is too large is sent")
	}
	if err := s.Send(nil); err == nil {
		t.Error("an empty frame is sent")
	}
	stop()
	if _, err := s.Receive(); err == nil {
		t.Error("the server has ended, and a frame comes")
	}
}

func TestStreamsEndWithTheirContextAndClose(t *testing.T) {
	ended := make(chan struct{}, 2)
	at, _ := listen(t, link.Config{Streams: serving(func(ctx context.Context, s *link.Stream) {
		echo(ctx, s)
		ended <- struct{}{}
	})})
	ctx, cancel := context.WithCancel(t.Context())
	d := link.NewDialer("web1", nil)
	defer d.Close()
	one, err := d.Dial(ctx, at, echoes)
	if err != nil {
		t.Fatal(err)
	}
	two := dial(t, at)
	cancel()
	<-ended
	if _, err := one.Receive(); err == nil {
		t.Error("a frame comes after the end of the context")
	}
	two.Close()
	<-ended
	if err := two.Send([]byte("x")); err == nil {
		t.Error("a frame is sent after Close")
	}
}

func TestStreamsAreRefused(t *testing.T) {
	at, _ := listen(t, link.Config{Streams: serving(echo), Refuse: func(node string) error { return fmt.Errorf("%s may not", node) }})
	d := link.NewDialer("web1", nil)
	defer d.Close()
	if _, err := d.Dial(t.Context(), at, echoes); err == nil || !strings.Contains(err.Error(), "web1 may not") {
		t.Errorf("refused: %v", err)
	}
	none, _ := listen(t, link.Config{})
	if _, err := d.Dial(t.Context(), none, echoes); err == nil {
		t.Error("a listener without streams takes one")
	}
	nameless := link.NewDialer("", nil)
	defer nameless.Close()
	open, _ := listen(t, link.Config{Streams: serving(echo)})
	if _, err := nameless.Dial(t.Context(), open, echoes); err == nil {
		t.Error("a process without a name opens a stream")
	}
}

// A server that does not read ends the stream after 5 s, and holds nobody longer.
func TestASenderIsNotHeld(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	at, _ := listen(t, link.Config{Streams: serving(func(ctx context.Context, _ *link.Stream) { <-ctx.Done() })})
	s := dial(t, at)
	began := time.Now()
	var err error
	for err == nil && time.Since(began) < time.Minute {
		err = s.Send(make([]byte, 1<<20))
	}
	if err == nil {
		t.Error("a server that does not read takes everything")
	}
	if _, err := s.Receive(); errors.Is(err, nil) {
		t.Error("the stream goes on")
	}
}

// A client that does not read ends its stream after 5 s too. A pause longer than that, in which nothing is sent, does not.
func TestAServerIsNotHeld(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	t.Parallel()
	sent := make(chan error, 1)
	at, _ := listen(t, link.Config{Streams: serving(func(_ context.Context, s *link.Stream) {
		err := s.Send([]byte("first"))
		time.Sleep(6 * time.Second)
		for began := time.Now(); err == nil && time.Since(began) < time.Minute; {
			err = s.Send(make([]byte, 1<<20))
		}
		sent <- err
	})})
	s := dial(t, at)
	for range 2 {
		if _, err := s.Receive(); err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
	}
	if err := <-sent; err == nil {
		t.Error("a client that does not read is sent everything")
	}
}

// Introductions, streams and requests go over TLS, in any order, and a process is the node of its certificate.
func TestOverTLS(t *testing.T) {
	plain := httptest.NewTLSServer(nil) // its certificate
	defer plain.Close()
	peer := link.Peer{Node: "web1", Datacenter: "dc1"}
	at, _ := listen(t, link.Config{
		Streams:  serving(echo),
		Requests: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "passed on") }),
		TLS: &link.Secure{
			Config: &tls.Config{Certificates: plain.TLS.Certificates},
			Peer:   func(*tls.ConnectionState) link.Peer { return peer },
			Open:   map[string]http.HandlerFunc{"/open": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "open") }},
		},
	})
	d := link.NewDialer("web1", &tls.Config{InsecureSkipVerify: true})
	defer d.Close()
	get := func(path string) string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := d.RoundTripper().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.Proto, " ", resp.StatusCode, " ", strings.TrimSpace(string(text)))
	}
	for range 3 {
		if i, err := d.Ask(t.Context(), at); err != nil || i.Name != "s1" {
			t.Fatalf("an introduction: %+v, %v", i, err)
		}
		s, err := d.Dial(t.Context(), at, echoes)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := get("/v1/kv/a"); got != "HTTP/2.0 200 passed on" {
			t.Errorf("a request: %s", got)
		}
	}
	peer.Node = "web2"
	if s, err := d.Dial(t.Context(), at, echoes); err == nil || !strings.Contains(err.Error(), `the certificate is for "web2"`) {
		t.Errorf("a stream for another node: %v, %v", s, err)
	}
	peer.Node = ""
	if got := get("/v1/kv/a"); !strings.Contains(got, "403 this port is for the processes of the cluster") {
		t.Errorf("without a certificate: %s", got)
	}
	if got := get("/open"); !strings.HasSuffix(got, "200 open") {
		t.Errorf("an open path: %s", got)
	}
}

// A server of another datacenter opens streams that are for it, and no others, whatever its certificate and its header say.
func TestStreamsOfOtherDatacenters(t *testing.T) {
	far := link.Kind{Name: "far", Far: true}
	began := make(chan string, 1)
	serve := func(_ context.Context, s *link.Stream) { began <- s.Node + " of " + s.Datacenter }
	streams := map[link.Kind]func(context.Context, *link.Stream){echoes: serve, far: serve}
	refuse := func(string) error { return errors.New("refused") }
	open := func(at string, d *link.Dialer, kind link.Kind) error {
		defer d.Close()
		s, err := d.Dial(t.Context(), at, kind)
		if err == nil {
			s.Close()
		}
		return err
	}
	at, _ := listen(t, link.Config{Streams: streams, Refuse: refuse})
	if err := open(at, link.NewFarDialer("s1", "dc2", nil), far); err != nil {
		t.Fatal(err)
	}
	if got := <-began; got != "s1 of dc2" {
		t.Errorf("the stream is of %s", got)
	}
	if err := open(at, link.NewFarDialer("s1", "dc2", nil), echoes); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a stream of this datacenter alone: %v", err)
	}
	if err := open(at, link.NewFarDialer("s1", "dc1", nil), far); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a process of this datacenter is judged as one: %v", err)
	}

	plain := httptest.NewTLSServer(nil) // its certificate
	defer plain.Close()
	at, _ = listen(t, link.Config{Streams: streams, TLS: &link.Secure{
		Config: &tls.Config{Certificates: plain.TLS.Certificates},
		Peer:   func(*tls.ConnectionState) link.Peer { return link.Peer{Node: "s1", Datacenter: "dc2"} },
	}})
	skip := &tls.Config{InsecureSkipVerify: true}
	for name, d := range map[string]*link.Dialer{
		"no datacenter": link.NewDialer("s1", skip), "this one": link.NewFarDialer("s1", "dc1", skip), "a third one": link.NewFarDialer("s1", "dc3", skip),
	} {
		if err := open(at, d, far); err == nil || !strings.Contains(err.Error(), `the certificate is for "s1" in "dc2"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := open(at, link.NewFarDialer("s1", "dc2", skip), far); err != nil {
		t.Error(err)
	}
}
