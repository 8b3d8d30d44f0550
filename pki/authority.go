package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/skerryhq/skerry"
)

// Authority signs the certificates of a cluster. Each server has it, so that certificates are signed also while the quorum
// store has no majority.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const (
	// AuthorityFor is how long the certificate of an authority is valid.
	AuthorityFor = 10 * 365 * 24 * time.Hour
	// CertificateFor is how long the certificate of a process is valid, unless another time is set.
	CertificateFor = 72 * time.Hour
	// skew is how far the clock of another machine may be behind.
	skew = 5 * time.Minute
)

// Pin is the SHA-256 of the certificate of an authority.
type Pin [sha256.Size]byte

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
	return &Authority{c, key}, nil
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
func Request(key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// Sign answers a request with a certificate for a name, in DER. The error for a request that is not understood has the
// kind [skerry.Invalid].
func (a *Authority) Sign(request []byte, n Name, now time.Time, valid time.Duration) ([]byte, error) {
	if err := n.Check(); err != nil {
		return nil, err
	}
	key, err := KeyOf(request)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
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
	return x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
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

// Vouch signs the certificate of another authority, in DER. Processes that trust this authority trust the other one by it.
func (a *Authority) Vouch(other *Authority) ([]byte, error) {
	t := *other.cert
	t.NotAfter = earlier(t.NotAfter, a.cert.NotAfter)
	t.MaxPathLen, t.MaxPathLenZero = 0, true
	return x509.CreateCertificate(rand.Reader, &t, a.cert, other.key.Public(), a.key)
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

// Encode returns the certificate and the private key in PEM.
func (a *Authority) Encode() ([]byte, error) {
	key, err := EncodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(EncodeCertificates(a.cert.Raw), key...), nil
}

// DecodeAuthority reads what [Authority.Encode] wrote.
func DecodeAuthority(text []byte) (*Authority, error) {
	certs, rest, err := DecodeCertificates(text)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 || !certs[0].IsCA {
		return nil, errors.New("want the certificate of one authority")
	}
	key, err := DecodeKey(rest)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil, errors.New("the private key is another certificate's")
	}
	return &Authority{certs[0], key}, nil
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

// DecodeKey reads what [EncodeKey] wrote.
func DecodeKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("want a PEM block " + keyBlock)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
