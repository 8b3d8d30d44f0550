package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns the two ends of a stream, and the connection of the second.
func pair(t *testing.T) (one, two *Stream, conn net.Conn) {
	a, b := net.Pipe()
	one = newWire(a, bufio.NewReader(a), answersWithin, func() {})
	two = newWire(b, bufio.NewReader(b), answersWithin, func() {})
	t.Cleanup(func() { one.Close(); two.Close() })
	return one, two, b
}

func TestSignsOfLifeKeepAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, _ := pair(t)
		go func() {
			for range 2 {
				if frame, err := two.Receive(); err != nil || two.Send(frame) != nil {
					return
				}
			}
			two.Receive()
		}()
		for range 2 {
			ended := time.AfterFunc(time.Minute, func() { one.Send([]byte("late")) })
			if frame, err := one.Receive(); err != nil || string(frame) != "late" {
				t.Fatalf("after a minute of silence: %q, %v", frame, err)
			}
			ended.Stop()
		}
	})
}

func TestSilenceEndsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, _ := pair(t)
		two.carrier.(*wire).sign.Stop() // it hangs
		go io.Copy(io.Discard, two.carrier.(*wire).conn)
		began := time.Now()
		if _, err := one.Receive(); !errors.Is(err, errQuiet) || time.Since(began) != quietFor+answersWithin {
			t.Errorf("the stream ends after %v: %v", time.Since(began), err)
		}
	})
}

// A process that stood still has the time of an answer to read what came meanwhile.
func TestAStallIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, conn := pair(t)
		two.carrier.(*wire).sign.Stop()
		go func() {
			time.Sleep(quietFor + answersWithin/2) // longer than it may be silent
			conn.Write([]byte{0, 0, 0, 1, 'x'})
		}()
		if frame, err := one.Receive(); err != nil || string(frame) != "x" {
			t.Errorf("%q, %v", frame, err)
		}
	})
}

// A frame that the other side does not take ends the stream.
func TestAFrameIsHeldForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _, _ := pair(t)
		began := time.Now()
		if err := one.Send([]byte("x")); err == nil || time.Since(began) > sendWithin+signEvery {
			t.Errorf("it ends after %v: %v", time.Since(began), err)
		}
		if err := one.Send([]byte("x")); err == nil {
			t.Error("a stream that has ended takes a frame")
		}
	})
}

// run listens with streams of the kind "echo", each served by serve.
func run(t *testing.T, secure *Secure, serve func(context.Context, *Stream)) *Listener {
	l, err := Listen("127.0.0.1:0", Config{Self: Introduction{Name: "s1"}, Streams: map[Kind]func(context.Context, *Stream){{Name: "echo"}: serve}, TLS: secure, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return l
}

// The last frame of a server arrives although it did not read everything.
func TestTheLastFrameArrives(t *testing.T) {
	last := bytes.Repeat([]byte("x"), 1<<20) // more than is on its way at a time
	l := run(t, nil, func(_ context.Context, s *Stream) {
		s.Receive()
		s.Send(last)
	})
	d := NewDialer("web1", nil)
	defer d.Close()
	for range 20 {
		s, err := d.Dial(t.Context(), l.Addr(), Kind{Name: "echo"})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			s.Send([]byte("x")) // the stream may have ended
		}
		if frame, err := s.Receive(); err != nil || len(frame) != len(last) {
			t.Fatalf("%d bytes, %v", len(frame), err)
		}
		s.Close()
	}
}

// A stream of a revoked certificate is closed.
func TestStreamsAreCut(t *testing.T) {
	own := httptest.NewTLSServer(nil) // its certificate
	defer own.Close()
	secure := &Secure{Config: &tls.Config{Certificates: own.TLS.Certificates}, Peer: func(*tls.ConnectionState) Peer { return Peer{Node: "web1"} }}
	l := run(t, secure, func(ctx context.Context, s *Stream) { s.Receive() })
	d := NewDialer("web1", &tls.Config{InsecureSkipVerify: true})
	defer d.Close()
	s, err := d.Dial(t.Context(), l.Addr(), Kind{Name: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l.Cut(func(tls.ConnectionState) bool { return false })
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	l.Cut(func(tls.ConnectionState) bool { return true })
	if frame, err := s.Receive(); err == nil || errors.Is(err, errQuiet) {
		t.Errorf("%q, %v", frame, err)
	}
}

// Processes of earlier releases have streams over HTTP/2, on either side.
func TestStreamsOverHTTP2(t *testing.T) {
	echo := func(_ context.Context, s *Stream) {
		for {
			frame, err := s.Receive()
			if err != nil || s.Send(append([]byte(s.Node+" "), frame...)) != nil {
				return
			}
		}
	}
	answers := func(t *testing.T, s *Stream, err error) {
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Send([]byte("a")); err != nil {
			t.Fatal(err)
		}
		if frame, err := s.Receive(); err != nil || string(frame) != "web1 a" || s.Node != "s1" {
			t.Errorf("%q of %q, %v", frame, s.Node, err)
		}
	}
	d := NewDialer("web1", nil)
	defer d.Close()
	t.Run("an earlier agent", func(t *testing.T) {
		s, err := d.dialHTTP2(t.Context(), run(t, nil, echo).Addr(), Kind{Name: "echo"})
		answers(t, s, err)
	})
	t.Run("an earlier server", func(t *testing.T) {
		old := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor < 2 {
				http.Error(w, "a stream needs HTTP/2", http.StatusHTTPVersionNotSupported)
				return
			}
			w.Header().Set(nodeHeader, "s1")
			acceptHTTP2(w, r, func(ctx context.Context, s *Stream) {
				s.Node = "web1"
				echo(ctx, s)
			})
		}))
		old.Config.Protocols = new(http.Protocols)
		old.Config.Protocols.SetHTTP1(true)
		old.Config.Protocols.SetUnencryptedHTTP2(true)
		old.Start()
		defer old.Close()
		s, err := d.Dial(t.Context(), old.Listener.Addr().String(), Kind{Name: "echo"})
		answers(t, s, err)
	})
}

// A request for another protocol is refused with the one to ask for.
func TestUpgradeIsAskedFor(t *testing.T) {
	l := run(t, nil, func(context.Context, *Stream) { t.Error("a stream is served") })
	req, err := http.NewRequest(http.MethodPost, "http://"+l.Addr()+Kind{Name: "echo"}.path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(nodeHeader, "web1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusUpgradeRequired || !strings.Contains(string(text), protocol) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}
