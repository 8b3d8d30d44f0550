package pki_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
)

var (
	t0     = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	both   = []pki.Kind{pki.Agent, pki.Server}
	server = pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: "s1"}
	agent  = pki.Name{Datacenter: "dc1", Kind: pki.Agent, Node: "web1"}
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(t0.AddDate(-1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns credentials of a process.
func issue(t *testing.T, a *pki.Authority, n pki.Name, c *clock, roots ...*x509.Certificate) *pki.Credentials {
	t.Helper()
	h := held(t, a, n, c.at)
	if roots != nil {
		h.Roots = roots
	}
	out, err := pki.NewCredentials(h, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func held(t *testing.T, a *pki.Authority, n pki.Name, at time.Time) pki.Held {
	t.Helper()
	key, request := request(t)
	h, err := a.Sign(request, n, at, pki.CertificateFor)
	if err != nil {
		t.Fatal(err)
	}
	h.Key = key
	return h
}

// request returns a key, and the request for a certificate with it.
func request(t *testing.T) (crypto.Signer, []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, request
}

// meet connects two processes. The errors are those of the two sides.
func meet(t *testing.T, dial, listen *tls.Config) (dialed, listened error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	end := time.Now().Add(10 * time.Second)
	a.SetDeadline(end)
	b.SetDeadline(end)
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, listen)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // the client learns by it that its certificate was taken
		}
		b.Close()
		done <- err
	}()
	c := tls.Client(a, dial)
	dialed = c.Handshake()
	if dialed == nil {
		_, dialed = c.Read(make([]byte, 1))
	}
	a.Close()
	return dialed, <-done
}

func TestNames(t *testing.T) {
	c := &clock{t0}
	a := authority(t)
	for _, n := range []pki.Name{server, agent, {Datacenter: "dc_2-x", Kind: pki.Agent, Node: "Web 1.example?#%"}} {
		if got, err := pki.Of(issue(t, a, n, c).Held().Leaf()); err != nil || got != n {
			t.Errorf("the name %v became %v, %v", n, got, err)
		}
	}
	key, _ := pki.NewKey()
	request, _ := pki.Request(key)
	for _, n := range []pki.Name{
		{}, {Datacenter: "dc1", Kind: "king", Node: "x"}, {Datacenter: "dc1", Kind: pki.Agent}, {Datacenter: "dc1", Kind: pki.Agent, Node: "a/b"},
		{Datacenter: "dc1/agent", Kind: pki.Agent, Node: "a"}, {Datacenter: "DC1", Kind: pki.Agent, Node: "a"}, {Datacenter: "dc1", Kind: pki.Agent, Node: strings.Repeat("x", 256)},
	} {
		if _, err := a.Sign(request, n, t0, time.Hour); skerry.KindOf(err) != skerry.Invalid {
			t.Errorf("a certificate for %q: %v", n, err)
		}
	}
	if _, err := pki.Of(a.Certificate()); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("the authority's certificate names a process: %v", err)
	}
}

// Each row is a connection of two processes, and the side that refuses it.
func TestConnections(t *testing.T) {
	c := &clock{t0}
	a, other := authority(t), authority(t)
	s1, web1 := issue(t, a, server, c), issue(t, a, agent, c)
	past := &clock{t0.Add(-pki.CertificateFor - time.Hour)}
	old := issue(t, a, agent, past)
	past.at = t0
	elsewhere := issue(t, a, pki.Name{Datacenter: "dc2", Kind: pki.Server, Node: "s1"}, c)
	stranger, thief := issue(t, other, agent, c, a.Certificate(), other.Certificate()), issue(t, a, agent, c)
	stolen := thief.Held().Leaf().SerialNumber
	s1.Revoke(func(c *x509.Certificate) bool { return c.SerialNumber.Cmp(stolen) == 0 })
	bare := &tls.Config{InsecureSkipVerify: true}
	for name, row := range map[string]struct {
		dial, listen *tls.Config
		want         string // in the error of the listener, or of the dialer after "dial:"
	}{
		"an agent at a server":             {web1.Dial("dc1"), s1.Listen(false, "dc1", both), ""},
		"a server at a server":             {s1.Dial("dc1"), s1.Listen(false, "dc1", []pki.Kind{pki.Server}), ""},
		"an agent at a port for servers":   {web1.Dial("dc1"), s1.Listen(false, "dc1", []pki.Kind{pki.Server}), "it is no server"},
		"servers among themselves":         {s1.Among("dc1"), s1.Among("dc1"), ""},
		"an agent among servers":           {web1.Among("dc1"), s1.Among("dc1"), "certificate of \"web1\""},
		"a process that has not joined":    {pki.Pending(c.now).Dial("dc1"), s1.Listen(false, "dc1", both), "dial:has not joined"},
		"a server that has not joined":     {web1.Dial("dc1"), pki.Pending(c.now).Listen(false, "dc1", both), "has not joined"},
		"an agent that poses as a server":  {web1.Dial("dc1"), web1.Listen(false, "dc1", both), "dial:certificate of \"web1\""},
		"a server of another datacenter":   {web1.Dial("dc1"), elsewhere.Listen(false, "dc1", both), "dial:certificate of \"s1\""},
		"any server, of another one":       {s1.DialAny(), elsewhere.Listen(false, "dc2", both), ""},
		"any server, at an agent":          {s1.DialAny(), web1.Listen(false, "dc1", both), "dial:is no server"},
		"any server, of another cluster":   {s1.DialAny(), issue(t, other, server, c).Listen(false, "dc1", both), "dial:unknown authority"},
		"an agent of another datacenter":   {issue(t, a, pki.Name{Datacenter: "dc2", Kind: pki.Agent, Node: "web1"}, c).DialAny(), s1.Listen(false, "dc1", both), "only servers may"},
		"an agent of another, as a server": {web1.DialAny(), web1.Listen(false, "dc1", both), "dial:is no server"},
		"another cluster's agent":          {stranger.Dial("dc1"), s1.Listen(false, "dc1", both), "unknown authority"},
		"another cluster's server":         {web1.Dial("dc1"), issue(t, other, server, c).Listen(false, "dc1", both), "dial:unknown authority"},
		"no certificate":                   {bare, s1.Listen(false, "dc1", both), "didn't provide a certificate"},
		"no certificate where it may":      {bare, s1.Listen(true, "dc1", both), ""},
		"a bad certificate where none may": {stranger.Dial("dc1"), s1.Listen(true, "dc1", both), "unknown authority"},
		"one that has run out":             {old.Dial("dc1"), s1.Listen(false, "dc1", both), "expired"},
		"one that was revoked":             {thief.Dial("dc1"), s1.Listen(false, "dc1", both), "was revoked"},
		"an old version":                   {&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, s1.Listen(true, "dc1", both), "version"},
		"pinned":                           {pki.Pinned(a.Pin(), c.now), s1.Listen(true, "dc1", both), ""},
		"pinned to another":                {pki.Pinned(other.Pin(), c.now), s1.Listen(true, "dc1", both), "dial:another cluster's"},
		"pinned, at an agent":              {pki.Pinned(a.Pin(), c.now), web1.Listen(true, "dc1", both), "dial:is no server"},
	} {
		dialed, listened := meet(t, row.dial, row.listen)
		want, at := row.want, listened
		if rest, ok := strings.CutPrefix(want, "dial:"); ok {
			want, at = rest, dialed
		}
		switch {
		case want == "" && (dialed != nil || listened != nil):
			t.Errorf("%s: %v; %v", name, dialed, listened)
		case want != "" && (at == nil || !strings.Contains(at.Error(), want)):
			t.Errorf("%s: want %q: %v; %v", name, want, dialed, listened)
		case want != "" && dialed == nil:
			t.Errorf("%s: the dialer learns of nothing", name)
		}
	}
}

// A rotation of the authority: both are trusted, then the new one alone. Processes of both stages understand each other.
func TestRotation(t *testing.T) {
	c := &clock{t0}
	old := authority(t)
	next, err := old.Succeed(t0)
	if err != nil {
		t.Fatal(err)
	}
	again := func(a *pki.Authority) *pki.Authority { // over a disk
		text, err := a.Encode()
		if err == nil {
			a, err = pki.DecodeAuthority(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	next = again(next)
	before := issue(t, old, agent, c)
	moved, err := pki.NewCredentials(held(t, next, server, t0), c.now)
	if err != nil {
		t.Fatal(err)
	}
	if got := pki.Pins(next.Roots()); len(got) != 2 || got[0] != next.Pin() || got[1] != old.Pin() {
		t.Errorf("in a rotation %v are trusted", got)
	}
	if dialed, listened := meet(t, before.Dial("dc1"), moved.Listen(false, "dc1", both)); dialed != nil || listened != nil {
		t.Errorf("an agent of the old authority at a server of the new one: %v; %v", dialed, listened)
	}
	if dialed, _ := meet(t, pki.Pinned(old.Pin(), c.now), moved.Listen(true, "dc1", both)); dialed != nil {
		t.Errorf("a token with the old pin: %v", dialed)
	}
	next = again(next.Alone())
	if err := moved.Replace(held(t, next, server, t0)); err != nil {
		t.Fatal(err)
	}
	if got := next.Roots(); len(got) != 1 || pki.PinOf(got[0]) != next.Pin() {
		t.Errorf("after a rotation %v are trusted", pki.Pins(got))
	}
	if dialed, listened := meet(t, before.Among("dc1"), moved.Among("dc1")); listened == nil {
		t.Errorf("an agent of the old authority as a server: %v; %v", dialed, listened)
	}
	if dialed, _ := meet(t, before.Dial("dc1"), moved.Listen(true, "dc1", both)); dialed != nil && !strings.Contains(dialed.Error(), "remote") {
		t.Errorf("one that trusts the old authority alone does not accept a server of the new one: %v", dialed)
	}
	if dialed, listened := meet(t, before.Dial("dc1"), moved.Listen(false, "dc1", both)); listened == nil {
		t.Errorf("an agent of an authority that is not trusted any more: %v; %v", dialed, listened)
	}
	if dialed, listened := meet(t, issue(t, next, agent, c).Dial("dc1"), moved.Listen(false, "dc1", both)); dialed != nil || listened != nil {
		t.Errorf("after the rotation: %v; %v", dialed, listened)
	}
}

func TestReplaceChecks(t *testing.T) {
	c := &clock{t0}
	a := authority(t)
	good, other := held(t, a, agent, t0), held(t, authority(t), agent, t0)
	creds, err := pki.NewCredentials(good, c.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]pki.Held{
		"nothing": {}, "another key": {Key: other.Key, Chain: good.Chain, Roots: good.Roots},
		"another authority": {Key: good.Key, Chain: good.Chain, Roots: other.Roots}, "expired": held(t, a, agent, t0.Add(-100*time.Hour)),
	} {
		if creds.Replace(h) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if creds.Held().Leaf() != good.Leaf() {
		t.Error("what was refused is held")
	}
}

func TestAuthorityText(t *testing.T) {
	a := authority(t)
	text, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := pki.DecodeAuthority(text)
	if err != nil || b.Pin() != a.Pin() {
		t.Fatalf("%v", err)
	}
	other, _ := authority(t).Encode()
	cert, key := pki.EncodeCertificates(a.Certificate().Raw), other[len(pki.EncodeCertificates(a.Certificate().Raw)):]
	for name, text := range map[string][]byte{"empty": nil, "no key": cert, "another key": append(cert, key...), "cut": text[:len(text)-30]} {
		if _, err := pki.DecodeAuthority(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, request := range map[string][]byte{"empty": nil, "no request": []byte("hello")} {
		if _, err := a.Sign(request, agent, t0, time.Hour); skerry.KindOf(err) != skerry.Invalid || errors.Unwrap(err) == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A private key may be of any kind that TLS takes.
func TestKeysOfAnOperator(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	eight, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for kind, der := range map[string][]byte{"RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(key), "PRIVATE KEY": eight} {
		got, err := pki.DecodeSigner(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		if err != nil || !key.Equal(got) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := pki.DecodeSigner([]byte("no key")); err == nil {
		t.Error("no key is taken")
	}
}

// An authority that has ended signs nothing, and what it signed does not outlive it. One that took its place before goes on.
func TestAnAuthorityEnds(t *testing.T) {
	c := &clock{t0}
	a := authority(t)
	end := a.Certificate().NotAfter
	c.at = end.Add(-time.Hour)
	last := issue(t, a, agent, c)
	if got := last.Held().Leaf().NotAfter; !got.Equal(end) {
		t.Errorf("the last certificate ends at %v, and the authority at %v", got, end)
	}
	at := issue(t, a, server, c)
	next, err := a.Succeed(c.at)
	if err != nil {
		t.Fatal(err)
	}
	c.at = end
	_, request := request(t)
	if _, err := a.Sign(request, agent, c.at, time.Hour); skerry.KindOf(err) != skerry.Unavailable || !strings.Contains(err.Error(), "skerry token create") {
		t.Errorf("a certificate after the end: %v", err)
	}
	c.at = end.Add(time.Second)
	if dialed, _ := meet(t, last.Dial("dc1"), at.Listen(false, "dc1", both)); dialed == nil || !strings.Contains(dialed.Error(), "expired") {
		t.Errorf("a connection after the end: %v", dialed)
	}
	one, two := issue(t, next.Alone(), agent, c), issue(t, next.Alone(), server, c)
	if dialed, listened := meet(t, one.Dial("dc1"), two.Listen(false, "dc1", both)); dialed != nil || listened != nil {
		t.Errorf("the one after it: %v; %v", dialed, listened)
	}
}

// A process whose clock goes back by hours keeps its certificate, and others accept it.
func TestAClockGoesBack(t *testing.T) {
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	a, err := pki.NewAuthority(at)
	if err != nil {
		t.Fatal(err)
	}
	_, request := request(t)
	for _, valid := range []time.Duration{time.Minute, pki.CertificateFor} {
		h, err := a.Sign(request, server, at, valid)
		if err != nil {
			t.Fatal(err)
		}
		leaf := h.Leaf()
		if early := at.Add(-23 * time.Hour); early.Before(leaf.NotBefore) || early.Before(h.Roots[0].NotBefore) {
			t.Errorf("a certificate of %v is valid from %v, its authority's from %v", valid, leaf.NotBefore, h.Roots[0].NotBefore)
		}
		if got := pki.SignedAt(leaf); !got.Equal(at) {
			t.Errorf("a certificate of %v was signed at %v, and says %v", valid, at, got)
		}
	}
	if old := (&x509.Certificate{NotBefore: at, NotAfter: at.Add(time.Hour)}); !pki.SignedAt(old).Equal(at) {
		t.Errorf("a certificate of an earlier release was signed at %v", pki.SignedAt(old))
	}
}
