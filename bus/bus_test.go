package bus_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/skerryhq/skerry/bus"
	"github.com/skerryhq/skerry/bus/bustest"
	"github.com/skerryhq/skerry/rescue"
)

func TestSuiteEmbedded(t *testing.T) {
	bustest.Suite(t, func(t *testing.T, servers map[string]bustest.Receive) map[string]bustest.Member {
		return joined(t, servers, config)
	})
}

func TestSuiteOutside(t *testing.T) {
	bustest.Suite(t, func(t *testing.T, servers map[string]bustest.Receive) map[string]bustest.Member {
		_, url := outside(t, nil)
		return joined(t, servers, func(name string, _ ...string) bus.Config {
			cfg := config(name)
			cfg.Listen, cfg.URL = "", url
			return cfg
		})
	})
}

// The first knows no other server, the second the first, the third the second.
func TestServersFindEachOther(t *testing.T) {
	got := make(chan string, 10)
	a := start(t, config("a"), func(from string, frame []byte) { got <- from + " " + string(frame) })
	b := start(t, config("b", a.Addr()), ignore)
	c := start(t, config("c", b.Addr()), ignore)
	know(t, a, b, c)
	if err := c.Send("a", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if have := <-got; have != "c hello" {
		t.Errorf("a got %q", have)
	}
	for _, each := range []*bus.Bus{a, b, c} {
		if s := each.Status(); s.Routes != 2 || !s.Connected || s.Twin != "" || s.Addr != each.Addr() {
			t.Errorf("%+v", s)
		}
	}
}

func TestAddPeers(t *testing.T) {
	var log testlogger
	cfg := config("b")
	cfg.Log = log.logger()
	a, b := start(t, config("a"), ignore), start(t, cfg, ignore)
	for range 3 {
		b.AddPeers(a.Addr(), a.Addr(), b.Addr())
	}
	know(t, a, b)
	b.AddPeers("nowhere", "127.0.0.1:0", "127.0.0.1:port", ":7")
	if n := log.Count("a route of the bus is not made"); n != 4 {
		t.Errorf("%d addresses are refused, want 4:\n%s", n, log.String())
	}
	if s := a.Status(); len(s.Peers) != 1 || s.Peers[0].Addr != b.Addr() || s.Peers[0].Name != "b" || !s.Peers[0].Here {
		t.Errorf("%+v", s)
	}
}

// The first has no peers, so the others must dial it.
func TestAServerComesBack(t *testing.T) {
	a := start(t, config("a"), ignore)
	addr := a.Addr()
	b := start(t, config("b", addr), ignore)
	c := start(t, config("c", b.Addr()), ignore)
	know(t, a, b, c)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the routes are gone", func() bool { return b.Status().Routes == 1 && c.Status().Routes == 1 })
	got := make(chan string, 100)
	cfg := config("a")
	cfg.Listen = addr
	begun := time.Now()
	a = start(t, cfg, func(from string, frame []byte) { got <- from })
	eventually(t, "frames of both come", func() bool {
		b.Send("a", []byte("x"))
		c.Send("a", []byte("x"))
		return len(a.Peers()) == 2 && len(got) > 0
	})
	t.Logf("after %v", time.Since(begun))
}

// A server that returns with another address is found by what it announces, and its old
// address is not tried any more.
func TestAServerMoves(t *testing.T) {
	a := start(t, config("a"), ignore)
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	old := b.Addr()
	b.Close()
	taken, err := net.Listen("tcp", old) // the next one has another port
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b = start(t, config("b", a.Addr()), ignore)
	eventually(t, "a has the new address", func() bool {
		s := a.Status()
		return len(s.Peers) == 1 && s.Peers[0].Addr == b.Addr()
	})
}

// Two servers of one name both see it, and so does a third, over routes and outside.
func TestTwins(t *testing.T) {
	_, url := outside(t, nil)
	for _, way := range []string{"", url} {
		var log, third testlogger
		cfg := in("dc1", way, "other")
		cfg.Log = third.logger()
		c := start(t, cfg, ignore)
		cfg = in("dc1", way, "same", addresses(c)...)
		cfg.Log = log.logger()
		a := start(t, cfg, ignore)
		know(t, a, c)
		b := start(t, in("dc1", way, "same", addresses(c)...), ignore)
		eventually(t, "both see it", func() bool { return a.Status().Twin != "" && b.Status().Twin != "" })
		if twin := a.Status().Twin; twin != b.Addr() && twin != "unknown" {
			t.Errorf("a sees a twin at %s", twin)
		}
		eventually(t, "the third sees it", func() bool { return strings.Contains(third.String(), "two servers have one name") })
		for text, l := range map[string]*testlogger{"another server has": &log, "two servers have": &third} {
			if n := l.Count(text); n != 1 {
				t.Errorf("it is logged %d times:\n%s", n, l.String())
			}
		}
	}
}

// Datacenters are apart, over routes and on one outside NATS.
func TestDatacenters(t *testing.T) {
	_, url := outside(t, nil)
	for _, way := range []string{"", url} {
		var strange atomic.Int64
		receive := func(string, []byte) { strange.Add(1) }
		a := start(t, in("dc1", way, "a"), receive)
		b := start(t, in("dc2", way, "b", addresses(a)...), receive)
		c := start(t, in("dc1", way, "c", addresses(a)...), ignore)
		know(t, a, c)
		b.Send("", []byte("x"))
		b.Send("a", []byte("x"))
		// After a second each has announced itself again.
		eventually(t, "a hears c again", func() bool { return heardSince(a, "c", time.Now().Add(-patience)) })
		if n := strange.Load(); n > 0 || len(b.Peers()) > 0 || len(a.Peers()) != 1 || b.Status().Routes > 0 {
			t.Errorf("%d frames came from another datacenter; %+v", n, b.Status())
		}
	}
}

func in(datacenter, url, name string, peers ...string) bus.Config {
	cfg := config(name, peers...)
	cfg.Datacenter, cfg.URL = datacenter, url
	return cfg
}

func addresses(b *bus.Bus) []string {
	if b.Addr() == "" {
		return nil
	}
	return []string{b.Addr()}
}

func heardSince(b *bus.Bus, name string, since time.Time) bool {
	return slices.ContainsFunc(b.Status().Peers, func(p bus.Peer) bool { return p.Name == name && p.Heard.After(since) })
}

func TestAPanicEndsNothing(t *testing.T) {
	reg := prometheus.NewRegistry()
	got := make(chan string, 10)
	cfg := config("a")
	cfg.Net = rescue.New(cfg.Log, reg)
	a := start(t, cfg, func(_ string, frame []byte) {
		if string(frame) == "bad" {
			panic("a bug")
		}
		got <- string(frame)
	})
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	b.Send("a", []byte("bad"))
	b.Send("a", []byte("good"))
	if have := <-got; have != "good" {
		t.Errorf("a got %q", have)
	}
	if n := testutil.CollectAndCount(reg, "skerry_panics_total"); n == 0 {
		t.Error("the panic is not counted")
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := config("a")
	cfg.Registerer = reg
	a := start(t, cfg, ignore)
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	a.Send("", []byte("1234"))
	b.Send("a", []byte("12"))
	eventually(t, "both are counted", func() bool {
		return value(reg, "skerry_bus_frames_total", "sent") >= 1 && value(reg, "skerry_bus_frames_total", "received") == 1
	})
	if n := value(reg, "skerry_bus_bytes_total", "received"); n != 2 {
		t.Errorf("%v bytes are received", n)
	}
	if n := value(reg, "skerry_bus_routes", ""); n != 1 {
		t.Errorf("%v routes", n)
	}
	if n := value(reg, "skerry_bus_connected", ""); n != 1 {
		t.Errorf("connected: %v", n)
	}
	a.Close()
	if n := testutil.CollectAndCount(reg); n != 0 {
		t.Errorf("%d metrics are left after Close", n)
	}
	a.AddPeers("127.0.0.1:1") // changes nothing
	start(t, cfg, ignore)     // with the same registry
}

// value is a metric's value, of the series with the label's value.
func value(reg *prometheus.Registry, name, label string) float64 {
	families, err := reg.Gather()
	if err != nil {
		return -1
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestStartRefuses(t *testing.T) {
	taken := start(t, config("a"), ignore)
	for name, change := range map[string]func(*bus.Config){
		"no name":                  func(c *bus.Config) { c.Self = "" },
		"a name that is too long":  func(c *bus.Config) { c.Self = strings.Repeat("x", 257) },
		"no datacenter":            func(c *bus.Config) { c.Datacenter = "" },
		"nowhere to listen":        func(c *bus.Config) { c.Listen = "" },
		"a taken port":             func(c *bus.Config) { c.Listen = taken.Addr() },
		"a foreign address":        func(c *bus.Config) { c.Listen = "192.0.2.1:0" },
		"a port that is no number": func(c *bus.Config) { c.Listen = "127.0.0.1:http" },
		"a peer without port":      func(c *bus.Config) { c.Peers = []string{"127.0.0.1"} },
		"a bad advertise":          func(c *bus.Config) { c.Advertise = "::::" },
		"too large frames":         func(c *bus.Config) { c.MaxFrame = bus.GreatestFrame + 1 },
		"a URL without scheme":     func(c *bus.Config) { c.URL = "secret:4222" },
		"no credentials":           func(c *bus.Config) { c.URL, c.CredsFile = "nats://127.0.0.1:1", "/does/not/exist" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config("b")
			change(&cfg)
			b, err := bus.Start(cfg, ignore)
			if err == nil {
				b.Close()
				t.Fatal("it starts")
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the URL: %v", err)
			}
			t.Log(err)
		})
	}
}

// Close in the middle of sends and receives.
func TestCloseUnderLoad(t *testing.T) {
	for range 5 {
		a := start(t, config("a"), ignore)
		b := start(t, config("b", a.Addr()), ignore)
		know(t, a, b)
		var senders sync.WaitGroup
		for i := range 4 {
			senders.Go(func() {
				for {
					var err error
					if i%2 == 0 {
						err = a.Send("", make([]byte, 100))
					} else {
						err = b.Send("a", make([]byte, 10_000))
					}
					if errors.Is(err, bus.ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		a.Close()
		b.Close()
		senders.Wait()
	}
}

// Frames that were sent before Close arrive.
func TestCloseSendsTheRest(t *testing.T) {
	const n = 500
	got := make(chan string, n)
	a := start(t, config("a"), func(_ string, frame []byte) { got <- string(frame) })
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	for i := range n {
		b.Send("a", []byte(fmt.Sprint(i)))
	}
	b.Close()
	eventually(t, "all came", func() bool { return len(got) == n })
}

// A frame of the largest size arrives, if not at once: see the suite.
func TestTheLargestFrame(t *testing.T) {
	got := make(chan int, 100)
	a := start(t, config("a"), func(_ string, frame []byte) { got <- len(frame) })
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	for range 10 {
		if err := b.Send("a", make([]byte, bus.DefaultMaxFrame)); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-got:
			if n != bus.DefaultMaxFrame {
				t.Errorf("%d bytes came", n)
			}
			return
		case <-time.After(5 * time.Second):
		}
	}
	t.Error("it never came")
}
