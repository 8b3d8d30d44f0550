package bus_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/bus"
	"github.com/skerryhq/skerry/test/testcert"
)

func toOutside(name, url string) bus.Config {
	cfg := config(name)
	cfg.Listen, cfg.URL = "", url
	return cfg
}

// The outside NATS may come after the servers, and go and come back.
func TestOutsideComesAndGoes(t *testing.T) {
	first, url := outside(t, nil)
	port := first.Addr().(*net.TCPAddr).Port
	first.Shutdown()
	first.WaitForShutdown()
	again := func() *server.Server {
		srv, _ := outside(t, func(o *server.Options) { o.Port = port })
		return srv
	}
	reg := prometheus.NewRegistry()
	cfg := toOutside("a", url)
	cfg.Registerer = reg
	a, b := start(t, cfg, ignore), start(t, toOutside("b", url), ignore)
	if a.Status().Connected {
		t.Error("a is connected to nothing")
	}
	if err := a.Send("b", []byte("x")); err != nil {
		t.Error(err)
	}
	if n := value(reg, "skerry_bus_dropped_total", "no_connection"); n != 1 {
		t.Errorf("%v frames are counted as dropped", n)
	}
	for range 2 {
		srv := again()
		know(t, a, b)
		srv.Shutdown()
		srv.WaitForShutdown()
		eventually(t, "both notice", func() bool { return !a.Status().Connected && !b.Status().Connected })
	}
}

func TestOutsideWithPassword(t *testing.T) {
	_, url := outside(t, func(o *server.Options) { o.Username, o.Password = "skerry", "open sesame" })
	var log testlogger
	good, bad := toOutside("a", url), toOutside("b", url)
	good.User, good.Password = "skerry", "open sesame"
	bad.User, bad.Password, bad.Log = "skerry", "a wrong word", log.logger()
	a, b := start(t, good, ignore), start(t, bad, ignore)
	eventually(t, "a is connected", func() bool { return a.Status().Connected })
	eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "Authorization") })
	if b.Status().Connected {
		t.Error("b is connected with a wrong password")
	}
	if strings.Contains(log.String(), "a wrong word") {
		t.Errorf("the password is logged:\n%s", log.String())
	}
	if n := log.Count("not connected"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func TestOutsideWithSmallerFrames(t *testing.T) {
	_, url := outside(t, func(o *server.Options) { o.MaxPayload = 1 << 20 })
	a := start(t, toOutside("a", url), ignore)
	eventually(t, "a is connected", func() bool { return a.Status().Connected })
	if err := a.Send("", make([]byte, 1<<20+1)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("a frame that NATS does not take: %v", err)
	}
}

// Others on the same NATS may publish anything.
func TestStrangersOnNATS(t *testing.T) {
	_, url := outside(t, nil)
	reg := prometheus.NewRegistry()
	got := make(chan string, 100)
	cfg := toOutside("a", url)
	cfg.Registerer = reg
	a := start(t, cfg, func(from string, _ []byte) { got <- from })
	eventually(t, "a is connected", func() bool { return a.Status().Connected })
	other, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	strange := []string{"skerry.dc1.all.=", "skerry.dc1.all.=41", "skerry.dc1.to.a.=zz", "skerry.dc1.all.a", "skerry.dc1.to.a.a",
		"skerry.dc1.here.=2", "skerry.dc1.all." + strings.Repeat("x", 300)}
	for _, subject := range strange {
		if err := other.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	other.Publish("skerry.dc1.here.b", []byte("no sign of life"))
	other.Publish("skerry.dc1.here.a", []byte("no sign of life"))
	other.Publish("skerry.dc2.all.b", []byte("elsewhere"))
	other.Publish("skerry.dc1.all.good", []byte("x"))
	if from := <-got; from != "good" || len(got) > 0 {
		t.Errorf("a got a frame of %q and %d more", from, len(got))
	}
	if n := value(reg, "skerry_bus_dropped_total", "stranger"); n != float64(len(strange)+2) {
		t.Errorf("%v frames are counted as strange", n)
	}
}

func tlsConfig(t *testing.T) (node *tls.Config, stranger *tls.Config) {
	dir := t.TempDir()
	authority, pair := testcert.Issue(t, dir, "node")
	_, other := testcert.Issue(t, dir, "other")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	node = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	stranger = node.Clone()
	stranger.Certificates = []tls.Certificate{other}
	return node, stranger
}

func TestRoutesWithTLS(t *testing.T) {
	node, stranger := tlsConfig(t)
	with := func(name string, tls *tls.Config, peers ...string) bus.Config {
		cfg := config(name, peers...)
		cfg.TLS = tls
		return cfg
	}
	var log testlogger
	first := with("a", node)
	first.Log = log.logger()
	a := start(t, first, ignore)
	b := start(t, with("b", node, a.Addr()), ignore)
	c := start(t, with("c", node, b.Addr()), ignore)
	d := start(t, with("d", stranger, a.Addr()), ignore)
	plain := start(t, config("e", a.Addr()), ignore)
	know(t, a, b, c)
	eventually(t, "d is refused", func() bool { return strings.Contains(log.String(), "TLS route handshake error") })
	if d.Status().Routes > 0 || plain.Status().Routes > 0 || len(a.Peers()) != 2 {
		t.Errorf("a hears %v", a.Peers())
	}
}

func TestOutsideWithTLS(t *testing.T) {
	node, stranger := tlsConfig(t)
	_, url := outside(t, func(o *server.Options) { o.TLSConfig, o.TLSVerify = node, true })
	with := func(name string, tls *tls.Config) bus.Config {
		cfg := toOutside(name, url)
		cfg.TLS = tls
		return cfg
	}
	var log testlogger
	bad := with("c", stranger)
	bad.Log = log.logger()
	a, b, c := start(t, with("a", node), ignore), start(t, with("b", node), ignore), start(t, bad, ignore)
	know(t, a, b)
	eventually(t, "c is refused", func() bool { return strings.Contains(log.String(), "not connected") })
	if c.Status().Connected {
		t.Error("c is connected with a foreign certificate")
	}
}
