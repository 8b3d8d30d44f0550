package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func TestConnectionLimit(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	cfg := DefaultConfig()
	cfg.Registerer = registry
	server := start(t, New(self, basicCatalog(), cfg))
	var conns []*dns.Conn
	for range maxConnsPerClient {
		c, err := dns.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	// All of them are accepted once the last one is answered.
	if err := askOn(conns[len(conns)-1]); err != nil {
		t.Fatal(err)
	}
	over, err := dns.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	if err := askOn(over); err == nil {
		t.Error("a connection over the limit was answered")
	}
	if err := askOn(conns[0]); err != nil {
		t.Errorf("one within the limit was not: %v", err)
	}
	if got := values(t, registry, "skerry_dns_rejected_connections_total"); got != "1" {
		t.Errorf("%s rejections are counted", got)
	}
	// A place that is free again is given away.
	conns[0].Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := dns.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		err = askOn(c)
		c.Close()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed connection still counts")
		}
	}
}

func askOn(c *dns.Conn) error {
	q := new(dns.Msg)
	q.SetQuestion("web.service.consul.", dns.TypeA)
	if err := c.WriteMsg(q); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	r, err := c.ReadMsg()
	if err == nil && len(r.Answer) != 2 {
		return errors.New(brief(r))
	}
	return err
}

func TestLongQuestion(t *testing.T) {
	c, err := net.Dial("tcp", start(t, New(self, basicCatalog(), DefaultConfig())))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(binary.BigEndian.AppendUint16(nil, maxQuery+1)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want a closed connection", n, err)
	}
}

func TestManyQuestionsOnOneConnection(t *testing.T) {
	c, err := dns.Dial("tcp", start(t, New(self, basicCatalog(), DefaultConfig())))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range maxQueriesPerConn {
		if err := askOn(c); err != nil {
			t.Fatalf("question %d: %v", n, err)
		}
	}
	if err := askOn(c); err == nil {
		t.Errorf("a connection lives longer than %d questions", maxQueriesPerConn)
	}
}

// What is no question is answered with an error or not at all, and the next
// question is answered as ever.
func TestMalformed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	cfg := DefaultConfig()
	cfg.Registerer = registry
	server := start(t, New(self, basicCatalog(), cfg))
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	question := func(edit func(*dns.Msg)) string {
		m := new(dns.Msg)
		m.SetQuestion("web.service.consul.", dns.TypeA)
		m.Id = 7
		edit(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	valid := question(func(*dns.Msg) {})
	for _, c := range []struct {
		name, packet string
		want         int // -1: no answer
	}{
		{"nothing", "", -1},
		{"half a header", valid[:6], -1},
		{"a header alone", valid[:12], dns.RcodeFormatError},
		{"a cut name", valid[:20], dns.RcodeFormatError},
		{"a pointer to itself", valid[:12] + "\xc0\x0c\x00\x01\x00\x01", dns.RcodeFormatError},
		{"an answer", question(func(m *dns.Msg) { m.Response = true }), -1},
		{"an update", question(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		{"a notify", question(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		{"two questions", question(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{"another class", question(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{"a transfer", question(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		{"EDNS of the future", question(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		{"a question", valid, dns.RcodeSuccess},
	} {
		if _, err := io.WriteString(conn, c.packet); err != nil {
			t.Fatal(err)
		}
		if c.want < 0 {
			continue // an answer to it would be taken for the next one's
		}
		buf := make([]byte, 512)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var m dns.Msg
		if err := m.Unpack(buf[:n]); err != nil || m.Rcode != c.want || m.Id != 7 {
			t.Errorf("%s: %s, id %d, %v; want %s", c.name, dns.RcodeToString[m.Rcode], m.Id, err, dns.RcodeToString[c.want])
		}
	}
	if got := values(t, registry, "skerry_dns_malformed_total"); got != "4" {
		t.Errorf("%s malformed packets are counted, want 4", got)
	}
}

// TestReload reloads under load: every question is answered, with the old
// configuration or the new one.
func TestReload(t *testing.T) {
	s := New(self, basicCatalog(), DefaultConfig())
	server := start(t, s)
	renamed := DefaultConfig()
	renamed.Domain = "other."
	renamed.Log = nil
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c, err := dns.Dial("udp", server)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for !stop.Load() {
				q := new(dns.Msg)
				q.SetQuestion("web.service.consul.", dns.TypeA)
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if err := c.WriteMsg(q); err != nil {
					t.Error(err)
					return
				}
				r, err := c.ReadMsg()
				if err != nil || r.Rcode != dns.RcodeRefused && len(r.Answer) != 2 {
					t.Errorf("%v: %v", err, r)
					return
				}
			}
		})
	}
	for range 300 {
		s.Reload(renamed)
		s.Reload(DefaultConfig())
	}
	stop.Store(true)
	wg.Wait()
	s.Reload(renamed)
	if got := brief(dig(t, server, "web.service.other A")); got != "NOERROR | A 10.0.0.1 | A 10.1.1.2" {
		t.Errorf("after the reload: %s", got)
	}
	if got := brief(dig(t, server, "web.service.consul A")); got != "REFUSED" {
		t.Errorf("the old domain after the reload: %s", got)
	}
}

// Serve ends with its context although clients stay connected, and closes both sockets.
func TestServeEnds(t *testing.T) {
	s := New(self, basicCatalog(), DefaultConfig())
	packet, stream := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, packet, stream) }()
	c, err := dns.Dial("tcp", stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := askOn(c); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := packet.WriteTo([]byte{0}, packet.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the UDP socket is open: %v", err)
	}
	if _, err := stream.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the TCP socket is open: %v", err)
	}
	if err := askOn(c); err == nil {
		t.Error("the client's connection is open")
	}
}

// A socket that fails ends Serve with its error.
func TestServeFails(t *testing.T) {
	packet, stream := listen(t)
	stream.Close()
	err := New(self, basicCatalog(), DefaultConfig()).Serve(context.Background(), packet, stream)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want a closed socket", err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	cfg := DefaultConfig()
	cfg.Registerer, cfg.EnableTruncate = registry, true
	s := New(self, manyCatalog(), cfg)
	askFrom(t, s, "127.0.0.1", "many.service.consul.", dns.TypeA, 0)
	askFrom(t, s, "127.0.0.1", "many.service.consul.", dns.TypeSRV, -1)
	askFrom(t, s, "127.0.0.1", "none.service.consul.", dns.TypeSRV, -1)
	askFrom(t, s, "127.0.0.1", "many.service.consul.", dns.TypeHINFO, -1)
	const want = "NOERROR A 1, NOERROR SRV 1, NOERROR other 1, NXDOMAIN SRV 1"
	if got := values(t, registry, "skerry_dns_queries_total"); got != want {
		t.Errorf("queries: %s; want %s", got, want)
	}
	if got := values(t, registry, "skerry_dns_truncated_total"); got != "1" {
		t.Errorf("truncated: %s", got)
	}
	if got := values(t, registry, "skerry_dns_duration_seconds"); got != "4" {
		t.Errorf("observed durations: %s", got)
	}
}

// values lists a metric's labels and values; of a histogram, the number of observations.
func values(t *testing.T, g prometheus.Gatherer, name string) string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var line []string
			for _, l := range m.GetLabel() {
				line = append(line, l.GetValue())
			}
			n := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			out = append(out, strings.Join(append(line, strconv.FormatFloat(n, 'f', -1, 64)), " "))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
