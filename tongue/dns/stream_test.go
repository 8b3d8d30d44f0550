package dns

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// pipes is a listener whose connections are made by dial, from the address given there.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	idle  atomic.Bool // the connection that said so last
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return tcp("192.0.2.53") }

func (p *pipes) dial(from string) net.Conn {
	client, server := net.Pipe()
	p.conns <- pipeFrom{server, tcp(from), &p.idle}
	return client
}

type pipeFrom struct {
	net.Conn
	from net.Addr
	idle *atomic.Bool
}

func (p pipeFrom) SetIdle(idle bool) { p.idle.Store(idle) }

func (p pipeFrom) RemoteAddr() net.Addr { return p.from }

// serveStreams serves in a bubble of synctest until the returned function is called.
func serveStreams(t *testing.T, s *Server) (*pipes, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	p, done := newPipes(), make(chan error, 1)
	go func() { done <- s.Serve(ctx, nil, p) }()
	return p, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// framed is a question as it goes over TCP.
func framed(t testing.TB, q *dns.Msg) []byte {
	t.Helper()
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// lives says how long a connection lives that does this with it.
func lives(t *testing.T, cfg Config, use func(net.Conn)) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serveStreams(t, New(self, heavyCatalog(), cfg))
		c := p.dial("192.0.2.1")
		began := time.Now()
		gone := make(chan struct{})
		go func() {
			use(c)
			close(gone)
		}()
		<-gone
		took = time.Since(began)
		c.Close()
		stop()
	})
	return took
}

func TestHowLongAConnectionLives(t *testing.T) {
	question := framed(t, asked("many.service.consul.", dns.TypeSRV))
	// drip writes a byte each interval until the connection is gone.
	drip := func(c net.Conn, b []byte, interval time.Duration) {
		for _, x := range b {
			if _, err := c.Write([]byte{x}); err != nil {
				return
			}
			time.Sleep(interval)
		}
		io.Copy(io.Discard, c)
	}
	ask := func(c net.Conn) {
		c.Write(question)
		length := make([]byte, 2)
		io.ReadFull(c, length)
		io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(length)))
	}
	for name, c := range map[string]struct {
		use    func(net.Conn)
		want   time.Duration
		metric string
	}{
		"nothing is sent":                {func(c net.Conn) { io.Copy(io.Discard, c) }, firstQueryTimeout, ""},
		"a question byte by byte":        {func(c net.Conn) { drip(c, question, 300*time.Millisecond) }, questionTimeout, "slow"},
		"a length and no more":           {func(c net.Conn) { c.Write(question[:2]); io.Copy(io.Discard, c) }, questionTimeout, "slow"},
		"half a length":                  {func(c net.Conn) { c.Write(question[:1]); io.Copy(io.Discard, c) }, questionTimeout, "slow"},
		"a late start, then bytes":       {func(c net.Conn) { time.Sleep(3 * time.Second); drip(c, question, 300*time.Millisecond) }, 3*time.Second + questionTimeout, "slow"},
		"a question, then nothing":       {func(c net.Conn) { ask(c); io.Copy(io.Discard, c) }, idleTimeout, ""},
		"a question, then bytes":         {func(c net.Conn) { ask(c); drip(c, question, 300*time.Millisecond) }, questionTimeout, "slow"},
		"an answer that is not read":     {func(c net.Conn) { c.Write(question); time.Sleep(time.Minute) }, time.Minute, "unread"},
		"many answers that are not read": {func(c net.Conn) { c.Write(bytes.Repeat(question, 100)) }, writeTimeout, "unread"},
		"a length beyond all":            {func(c net.Conn) { c.Write(binary.BigEndian.AppendUint16(nil, maxQuery+1)); io.Copy(io.Discard, c) }, 0, "long"},
	} {
		registry := prometheus.NewPedanticRegistry()
		cfg := DefaultConfig()
		cfg.Registerer = registry
		took := lives(t, cfg, c.use)
		if took < c.want || took > c.want+300*time.Millisecond {
			t.Errorf("%s: the connection lived %v, want %v", name, took, c.want)
		}
		want := map[string]string{"long": "0", "many": "0", "slow": "0", "unread": "0"}
		want[c.metric] = "1"
		if got := values(t, registry, "skerry_dns_closed_connections_total"); got != "long "+want["long"]+", many 0, slow "+want["slow"]+", unread "+want["unread"] {
			t.Errorf("%s: closed are %s", name, got)
		}
		if got := values(t, registry, "skerry_dns_connections"); got != "0" {
			t.Errorf("%s: %s connections are left", name, got)
		}
	}
}

// An answer of which a part was not read is the last: nothing follows it.
func TestUnreadAnswerEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serveStreams(t, New(self, heavyCatalog(), DefaultConfig()))
		defer stop()
		c := p.dial("192.0.2.1")
		defer c.Close()
		c.Write(framed(t, asked("many.service.consul.", dns.TypeSRV)))
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeTimeout + time.Second)
		c.SetReadDeadline(time.Now().Add(time.Second)) // before the connection would be idle for too long
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("after part of an answer: %d bytes, %v", n, err)
		}
	})
}

// A connection is idle while it waits for a question's first byte, and only then.
func TestIdleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serveStreams(t, New(self, basicCatalog(), DefaultConfig()))
		defer stop()
		c := p.dial("192.0.2.1")
		defer c.Close()
		told := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if p.idle.Load() != want {
				t.Errorf("%s: idle is %v", when, !want)
			}
		}
		question := framed(t, asked("web.service.consul.", dns.TypeA))
		for range 2 {
			told("before a question", true)
			c.Write(question[:1])
			told("within a question", false)
			c.Write(question[1:])
			told("before its answer is read", false)
			length := make([]byte, 2)
			io.ReadFull(c, length)
			told("within its answer", false)
			io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(length)))
		}
	})
}

// Questions that come at once are answered one after another, in their order.
func TestPipelinedQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serveStreams(t, New(self, basicCatalog(), DefaultConfig()))
		defer stop()
		c := p.dial("192.0.2.1")
		defer c.Close()
		const n = 50
		go func() {
			for id := range uint16(n) {
				q := asked("web.service.consul.", dns.TypeA)
				q.Id = id
				c.Write(framed(t, q))
			}
		}()
		conn := &dns.Conn{Conn: c}
		for id := range uint16(n) {
			m, err := conn.ReadMsg()
			if err != nil || m.Id != id || len(m.Answer) != 2 {
				t.Fatalf("question %d: %v, %v", id, m, err)
			}
		}
	})
}

// The limit of connections is of an address over all listeners, in either notation.
func TestConnectionsOverAllListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(self, basicCatalog(), DefaultConfig())
		a, stopA := serveStreams(t, s)
		defer stopA()
		b, stopB := serveStreams(t, s)
		defer stopB()
		var conns []net.Conn
		for n := range maxConnsPerClient {
			conns = append(conns, []*pipes{a, b}[n%2].dial([]string{"192.0.2.1", "::ffff:192.0.2.1"}[n/2%2]))
		}
		for _, p := range []*pipes{a, b} {
			c := p.dial("192.0.2.1")
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("one connection more: %v", err)
			}
			other := p.dial("192.0.2.2")
			if _, err := other.Write(framed(t, asked("web.service.consul.", dns.TypeA))); err != nil {
				t.Errorf("another client: %v", err)
			}
			other.Close()
		}
		for _, c := range conns {
			c.Close()
		}
	})
}

// FuzzStream sends arbitrary bytes in arbitrary pieces over TCP. Whatever they are,
// the connection ends in time, and all that is answered is whole and of some question.
func FuzzStream(f *testing.F) {
	question := func(name string, qtype uint16) []byte { return framed(f, asked(name, qtype)) }
	web := question("web.service.consul.", dns.TypeSRV)
	cookie := framed(f, withCookie(asked("many.service.consul.", dns.TypeANY), 4096, someCookie))
	f.Add(web, uint8(1), true)
	f.Add(web[:len(web)-1], uint8(7), true)
	f.Add(append(bytes.Repeat(web, 5), cookie...), uint8(200), true)
	f.Add(bytes.Repeat(cookie, 30), uint8(0), false)
	f.Add([]byte{0, 0, 0, 1, 7, 0, 12}, uint8(3), true)
	f.Add(append([]byte{0xff, 0xff}, web...), uint8(0), true)
	f.Add(append([]byte{0, 12}, make([]byte, 12)...), uint8(1), true)
	f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(web))), web...), uint8(0), true)
	catalog := heavyCatalog()
	for _, v := range basicCatalog().nodes {
		catalog.put(v.Node, v.Instances, v.Checks...)
	}
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8, reads bool) {
		if len(sent) > 1<<16 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			p, stop := serveStreams(t, New(self, catalog, DefaultConfig()))
			defer stop()
			c := p.dial("192.0.2.1")
			began := time.Now()
			var writer sync.WaitGroup
			defer writer.Wait()
			writer.Go(func() {
				size := cmp.Or(int(piece), len(sent))
				for rest := sent; len(rest) > 0; rest = rest[min(size, len(rest)):] {
					if _, err := c.Write(rest[:min(size, len(rest))]); err != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
			if !reads {
				time.Sleep(firstQueryTimeout + questionTimeout + writeTimeout)
			}
			got, _ := io.ReadAll(c)
			c.Close()
			if took := time.Since(began); took > time.Duration(len(sent))*time.Millisecond+idleTimeout+questionTimeout+firstQueryTimeout+writeTimeout {
				t.Errorf("the connection lived %v", took)
			}
			asked, answered := len(sent)/14, 0 // a question has a length and a header at least
			for ; len(got) >= 2; answered++ {
				n := int(binary.BigEndian.Uint16(got))
				if len(got) < 2+n {
					break // the connection ended within
				}
				var m dns.Msg
				if err := m.Unpack(got[2:][:n]); err != nil || !m.Response {
					t.Fatalf("an answer that is none: %v", err)
				}
				got = got[2+n:]
			}
			if len(got) > 0 && reads {
				t.Errorf("%d bytes of an answer were left", len(got))
			}
			if answered > asked {
				t.Errorf("%d answers to %d questions at most", answered, asked)
			}
		})
	})
}
