package bus_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/skerryhq/skerry/bus"
	"github.com/skerryhq/skerry/test/testcert"
)

// A route that stands is judged again, whichever side dialed it.
func TestRejoinJudgesCertificatesAgain(t *testing.T) {
	dir := t.TempDir()
	ours, pair := testcert.Issue(t, dir, "node")
	theirs, other := testcert.Issue(t, dir, "other")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ours)
	pool.AppendCertsFromPEM(theirs)
	node := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	thief := node.Clone()
	thief.Certificates = []tls.Certificate{other}
	var revoked atomic.Bool
	node.VerifyConnection = func(s tls.ConnectionState) error {
		if revoked.Load() && slices.Equal(s.PeerCertificates[0].Raw, other.Certificate[0]) {
			return errors.New("revoked")
		}
		return nil
	}
	with := func(name string, tls *tls.Config, peers ...string) bus.Config {
		cfg := config(name, peers...)
		cfg.TLS = tls
		return cfg
	}
	got := make(chan string, 100)
	a := start(t, with("a", node), func(from string, frame []byte) { got <- from + " " + string(frame) })
	c := start(t, with("c", thief, a.Addr()), ignore) // it dials a
	b := start(t, with("b", node, a.Addr(), c.Addr()), ignore)
	know(t, a, b, c)
	addr := a.Addr()

	revoked.Store(true)
	a.Rejoin()
	b.Rejoin()
	eventually(t, "a and b hear each other alone", func() bool {
		return slices.Equal(a.Peers(), []string{"b"}) && slices.Equal(b.Peers(), []string{"a"}) && c.Status().Routes == 0
	})
	if a.Addr() != addr {
		t.Errorf("the address is %s now, and was %s", a.Addr(), addr)
	}
	if err := b.Send("a", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for frame := range got {
		if frame == "b hello" {
			break
		}
		if frame[:2] == "c " {
			t.Errorf("a frame of c: %q", frame)
		}
	}
	a.Close()
	a.Rejoin() // nothing begins after the end
}
