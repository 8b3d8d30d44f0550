package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// Authority signs the certificates of a cluster. Each server has it, so that certificates are signed also while the quorum
// store has no majority.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// vouched is cert, signed by the authority that this one succeeds; nil: it is the first. before is that one, while it is
	// trusted still.
	vouched, before *x509.Certificate
}

const (
	// AuthorityFor is how long the certificate of an authority is valid.
	AuthorityFor = 10 * 365 * 24 * time.Hour
	// CertificateFor is how long the certificate of a process is valid, unless another time is set.
	CertificateFor = 72 * time.Hour
	// skew is how far the clock of another machine may be behind, and that of this one later: a process whose clock went back
	// keeps its certificate.
	skew = 24 * time.Hour
)

// SignedAt returns when an authority signed the certificate of a process.
func SignedAt(leaf *x509.Certificate) time.Time {
	if at := leaf.NotBefore.Add(skew); at.Before(leaf.NotAfter) {
		return at
	}
	return leaf.NotBefore // of another authority, or of a release that allowed for less
}

// Pin is the SHA-256 of the certificate of an authority.
type Pin [sha256.Size]byte

// String returns the pin in hexadecimal digits.
func (p Pin) String() string { return hex.EncodeToString(p[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (p Pin) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, p[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Pin) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(p) {
		return hex.ErrLength
	}
	_, err := hex.Decode(p[:], text)
	return err
}

// PinOf returns the pin of a certificate.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.Raw) }

// NewAuthority makes an authority.
func NewAuthority(now time.Time) (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Skerry cluster authority " + fmt.Sprintf("%x", serial.Bytes()[:4])},
		NotBefore: now.Add(-skew), NotAfter: now.Add(AuthorityFor),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: c, key: key}, nil
}

// NewKey makes the private key of a process.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always 16 bytes long
	return new(big.Int).SetBytes(b), nil
}

// Certificate returns the authority's own certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Pin returns the pin of the authority's own certificate.
func (a *Authority) Pin() Pin { return PinOf(a.cert) }

// Request returns a request for a certificate of a process, in DER: it holds the public key, and proves that its sender has
// the private one. The authority decides on the name by itself.
func Request(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// Sign answers a request with the credentials of a process, without its private key. The error for a request that is not
// understood has the kind [skerry.Invalid], and [skerry.Unavailable] after the end of the authority.
func (a *Authority) Sign(request []byte, n Name, now time.Time, valid time.Duration) (h Held, err error) {
	if err := n.Check(); err != nil {
		return h, err
	}
	key, err := KeyOf(request)
	if err != nil {
		return h, err
	}
	if end := a.cert.NotAfter; !now.Before(end) {
		return h, skerry.Errorf(skerry.Unavailable, "the authority of the cluster has ended, at %s, and signs no certificate any more: stop the servers, remove the folder pki in each data_dir, and make another one with `skerry token create -server -data-dir`", end.Format(time.RFC3339))
	}
	serial, err := newSerial()
	if err != nil {
		return h, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: n.Node}, URIs: []*url.URL{n.URI()},
		NotBefore: now.Add(-skew), NotAfter: earlier(now.Add(valid), a.cert.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if n.Kind == Server {
		t.DNSNames = []string{ServerName(n.Datacenter)}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
	if err != nil {
		return h, err
	}
	leaf, err := x509.ParseCertificate(der)
	return Held{Chain: append([]*x509.Certificate{leaf}, a.Between()...), Roots: a.Roots()}, err
}

// KeyOf returns the public key of a request, which was made with the private one.
func KeyOf(request []byte) (*ecdsa.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "the request for a certificate is not understood: %w", err)
	}
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, skerry.Errorf(skerry.Invalid, "the request for a certificate: want an ECDSA key on the curve P-256")
	}
	return key, nil
}

// Succeed makes the authority that takes the place of this one. Processes that it signs for trust both, until
// [Authority.Alone]. Processes that trust this one alone accept its certificates, since this one signs the new authority's.
func (a *Authority) Succeed(now time.Time) (*Authority, error) {
	next, err := NewAuthority(now)
	if err != nil {
		return nil, err
	}
	t := *next.cert
	t.NotAfter = earlier(t.NotAfter, a.cert.NotAfter)
	t.MaxPathLen, t.MaxPathLenZero = 0, true
	der, err := x509.CreateCertificate(rand.Reader, &t, a.cert, next.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	next.before = a.cert
	next.vouched, err = x509.ParseCertificate(der)
	return next, err
}

// Alone returns the authority without trust in the one before. Its certificates are still accepted by processes that trust
// that one alone.
func (a *Authority) Alone() *Authority {
	return &Authority{cert: a.cert, key: a.key, vouched: a.vouched}
}

// Between returns the certificates that lead from one that this authority signs to an authority that is trusted somewhere.
func (a *Authority) Between() []*x509.Certificate { return present(a.cert, a.vouched, a.before) }

// Roots returns the authorities that are trusted, this one first.
func (a *Authority) Roots() []*x509.Certificate { return present(a.cert, a.before) }

func present(all ...*x509.Certificate) (out []*x509.Certificate) {
	for _, c := range all {
		if c != nil {
			out = append(out, c)
		}
	}
	return out
}

// Pins returns the pins of certificates.
func Pins(certs []*x509.Certificate) (out []Pin) {
	for _, c := range certs {
		out = append(out, PinOf(c))
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "EC PRIVATE KEY"
)

// Encode returns the certificates and the private key in PEM.
func (a *Authority) Encode() ([]byte, error) {
	key, err := EncodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(EncodeCertificates(Raw(a.Between())...), key...), nil
}

// DecodeAuthority reads what [Authority.Encode] wrote.
func DecodeAuthority(text []byte) (*Authority, error) {
	certs, rest, err := DecodeCertificates(text)
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 || len(certs) > 3 || slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return !c.IsCA }) {
		return nil, errors.New("want the certificate of an authority, and at most two of the one before")
	}
	key, err := DecodeKey(rest)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil, errors.New("the private key is another certificate's")
	}
	certs = append(certs, nil, nil)
	return &Authority{cert: certs[0], key: key, vouched: certs[1], before: certs[2]}, nil
}

// Raw returns certificates in DER.
func Raw(certs []*x509.Certificate) (out [][]byte) {
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

// EncodeCertificates returns certificates in PEM.
func EncodeCertificates(der ...[]byte) []byte {
	var b bytes.Buffer
	for _, c := range der {
		pem.Encode(&b, &pem.Block{Type: certificateBlock, Bytes: c})
	}
	return b.Bytes()
}

// DecodeCertificates reads the certificates at the beginning of a PEM text, and returns the text after them.
func DecodeCertificates(text []byte) (certs []*x509.Certificate, rest []byte, err error) {
	for rest = text; ; {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != certificateBlock {
			return certs, rest, nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		certs, rest = append(certs, c), after
	}
}

// EncodeKey returns a private key in PEM.
func EncodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// DecodeSigner reads a private key of any kind that TLS takes, in PEM.
func DecodeSigner(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("want a private key in PEM")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the private key is not understood: want PKCS #8, PKCS #1 or SEC 1, without a passphrase: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T signs nothing", key)
	}
	return s, nil
}

// DecodeKey reads what [EncodeKey] wrote.
func DecodeKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("want a PEM block " + keyBlock)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
