package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
)

// Credentials are the certificate of a process, and the authorities that it trusts. They may be replaced while connections
// are open: new ones use the new credentials, and the others stay. Their methods may be called at once.
type Credentials struct {
	held    atomic.Pointer[Held]
	revoked atomic.Pointer[func(*x509.Certificate) bool]
	now     func() time.Time
}

// Held is credentials at one moment.
type Held struct {
	Key crypto.Signer
	// Chain is the certificate of the process, and after it those that lead to an authority.
	Chain []*x509.Certificate
	// Roots are the authorities that are trusted.
	Roots []*x509.Certificate
}

// Leaf returns the certificate of the process.
func (h *Held) Leaf() *x509.Certificate { return h.Chain[0] }

// Pending returns credentials that hold nothing until [Credentials.Replace]: handshakes fail. now is the clock.
func Pending(now func() time.Time) *Credentials { return &Credentials{now: now} }

// NewCredentials returns credentials that hold h. now is the clock.
func NewCredentials(h Held, now func() time.Time) (*Credentials, error) {
	c := &Credentials{now: now}
	return c, c.Replace(h)
}

// Replace puts h in place of the credentials before. It is an error, and nothing changes, if the certificate would not be accepted by a process
// with the same roots, or is another key's.
func (c *Credentials) Replace(h Held) error {
	if len(h.Chain) == 0 || len(h.Roots) == 0 || h.Key == nil {
		return errors.New("want a private key, its certificate and an authority")
	}
	if public, ok := h.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(h.Leaf().PublicKey) {
		return errors.New("the certificate is another key's")
	}
	if _, err := verify(h.Chain, h.Roots, "", c.now()); err != nil {
		return err
	}
	c.held.Store(&h)
	return nil
}

// Held returns the present credentials; nil while there are none. They must not be changed.
func (c *Credentials) Held() *Held { return c.held.Load() }

// Revoke sets which certificates are refused although an authority signed them. Open connections stay.
func (c *Credentials) Revoke(revoked func(*x509.Certificate) bool) { c.revoked.Store(&revoked) }

// verify returns the name of the process that shows a chain. dns is the DNS name that its certificate must have; empty: none.
func verify(chain, roots []*x509.Certificate, dns string, now time.Time) (Name, error) {
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, DNSName: dns, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return Name{}, skerry.Errorf(skerry.Denied, "the certificate of %q is refused: %w", chain[0].Subject.CommonName, err)
	}
	return Of(chain[0])
}

// check decides on the certificate of the other side of a connection.
func (c *Credentials) check(s tls.ConnectionState, dns string) error {
	if len(s.PeerCertificates) == 0 {
		return skerry.Errorf(skerry.Denied, "the other side shows no certificate")
	}
	h := c.held.Load()
	if h == nil {
		return errPending
	}
	n, err := verify(s.PeerCertificates, h.Roots, dns, c.now())
	if err != nil {
		return err
	}
	if revoked := c.revoked.Load(); revoked != nil && (*revoked)(s.PeerCertificates[0]) {
		return skerry.Errorf(skerry.Denied, "the certificate of %v was revoked", n)
	}
	return nil
}

var errPending = skerry.Errorf(skerry.Unavailable, "this process has no certificate yet: it has not joined")

func (c *Credentials) certificate() (*tls.Certificate, error) {
	h := c.held.Load()
	if h == nil {
		return nil, errPending
	}
	out := &tls.Certificate{PrivateKey: h.Key, Leaf: h.Leaf()}
	for _, one := range h.Chain {
		out.Certificate = append(out.Certificate, one.Raw)
	}
	return out, nil
}

// base is what all connections have in common. Sessions are not resumed: each handshake checks anew, by the roots and the
// revocations of then.
func (c *Credentials) base(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols, SessionTicketsDisabled: true,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate() },
	}
}

// Listen returns the TLS of a listener for the processes of a datacenter, of the kinds that are given, and for servers of
// other datacenters: the caller decides what these may do. With open, a process without a certificate is taken too.
func (c *Credentials) Listen(open bool, datacenter string, kinds []Kind, protocols ...string) *tls.Config {
	out := c.base(protocols...)
	out.ClientAuth = tls.RequireAnyClientCert
	if open {
		out.ClientAuth = tls.RequestClientCert
	}
	out.VerifyConnection = func(s tls.ConnectionState) error {
		if open && len(s.PeerCertificates) == 0 {
			return nil
		}
		if err := c.check(s, ""); err != nil {
			return err
		}
		return mayConnect(s, datacenter, kinds)
	}
	return out
}

func mayConnect(s tls.ConnectionState, datacenter string, kinds []Kind) error {
	n, err := Of(s.PeerCertificates[0])
	if err != nil {
		return err
	}
	if n.Datacenter != datacenter && n.Kind != Server {
		return skerry.Errorf(skerry.Denied, "%v may not connect here: this is the datacenter %s, and of others only servers may", n, datacenter)
	}
	for _, k := range kinds {
		if n.Kind == k {
			return nil
		}
	}
	return skerry.Errorf(skerry.Denied, "%v may not connect here: it is no %s", n, kinds[0])
}

// Dial returns the TLS of connections to the servers of a datacenter.
func (c *Credentials) Dial(datacenter string, protocols ...string) *tls.Config {
	out := c.base(protocols...)
	out.ServerName = ServerName(datacenter)
	out.InsecureSkipVerify = true // VerifyConnection does it, by the roots of then
	out.VerifyConnection = func(s tls.ConnectionState) error { return c.check(s, out.ServerName) }
	return out
}

// DialAny returns the TLS of connections to the servers of any datacenter.
func (c *Credentials) DialAny(protocols ...string) *tls.Config {
	out := c.base(protocols...)
	out.InsecureSkipVerify = true // VerifyConnection does it, by the roots of then
	out.VerifyConnection = func(s tls.ConnectionState) error {
		dns, err := serverOf(s.PeerCertificates)
		if err != nil {
			return err
		}
		return c.check(s, dns)
	}
	return out
}

// serverOf returns the DNS name that the certificate of a server must have, of whatever datacenter it is.
func serverOf(chain []*x509.Certificate) (dns string, err error) {
	if len(chain) == 0 {
		return "", skerry.Errorf(skerry.Denied, "the other side shows no certificate")
	}
	n, err := Of(chain[0])
	if err == nil && n.Kind != Server {
		err = skerry.Errorf(skerry.Denied, "%v is no server", n)
	}
	return ServerName(n.Datacenter), err
}

// Among returns the TLS of connections between the servers of a datacenter, for either side.
func (c *Credentials) Among(datacenter string) *tls.Config {
	out := c.base()
	out.ClientAuth, out.InsecureSkipVerify = tls.RequireAnyClientCert, true
	out.VerifyConnection = func(s tls.ConnectionState) error { return c.check(s, ServerName(datacenter)) }
	return out
}

// Pinned returns the TLS of a connection to a server of any datacenter, of which the pin of an authority is known and nothing
// else. The process shows no certificate.
func Pinned(pin Pin, now func() time.Time, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, root := range s.PeerCertificates {
				if root.IsCA && PinOf(root) == pin {
					dns, err := serverOf(s.PeerCertificates)
					if err == nil {
						_, err = verify(s.PeerCertificates, []*x509.Certificate{root}, dns, now())
					}
					return err
				}
			}
			return fmt.Errorf("the server's certificate is not of the authority that the join token names: the token is another cluster's, or the address is")
		},
	}
}

// Peer returns the name of the other side of a connection, as its certificate has it. ok is false if it showed none.
func Peer(s *tls.ConnectionState) (n Name, ok bool) {
	if s == nil || len(s.PeerCertificates) == 0 {
		return Name{}, false
	}
	n, err := Of(s.PeerCertificates[0])
	return n, err == nil
}
