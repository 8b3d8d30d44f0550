// Package certificate makes a private authority and the certificates of a
// cluster's servers, clients and operators.
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	"github.com/skerryhq/skerry"
)

// Pair is a certificate and its private key, each in PEM.
type Pair struct{ Cert, Key []byte }

// Authority describes an authority to make.
type Authority struct {
	CommonName string
	Lifetime   time.Duration
	// Domains are all that its certificates may name; empty: they may name any.
	Domains []string
	// URI is its SPIFFE ID; nil: none.
	URI *url.URL
}

// New makes the authority: an ECDSA key on P-256 and a certificate signed with it.
func (a Authority) New() (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	c, err := blank(a.Lifetime)
	if err != nil {
		return Pair{}, err
	}
	// The number distinguishes authorities of one name.
	c.Subject = pkix.Name{Organization: []string{"Skerry"}, CommonName: fmt.Sprintf("%s %d", a.CommonName, c.SerialNumber)}
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	if c.SubjectKeyId, err = keyID(key.Public()); err != nil {
		return Pair{}, err
	}
	c.AuthorityKeyId = c.SubjectKeyId
	if len(a.Domains) > 0 {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = a.Domains, true
	}
	if a.URI != nil {
		c.URIs = []*url.URL{a.URI}
	}
	return seal(c, c, key, key)
}

// Leaf describes a certificate to make.
type Leaf struct {
	Name     string // the common name, and the first of the DNS names
	DNSNames []string
	IPs      []net.IP
	Lifetime time.Duration
	// Server lets its holder answer TLS; all holders may call.
	Server bool
}

// Sign makes a certificate with a new key, signed by the authority. The errors are
// of kind [skerry.Invalid] when ca is not one, or when it may not sign that.
func (l Leaf) Sign(ca Pair) (Pair, error) {
	issuer, signer, err := ca.read()
	if err != nil {
		return Pair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	c, err := blank(l.Lifetime)
	if err != nil {
		return Pair{}, err
	}
	c.Subject = pkix.Name{CommonName: l.Name}
	c.DNSNames = append([]string{l.Name}, l.DNSNames...)
	c.IPAddresses = l.IPs
	c.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if l.Server {
		c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	c.BasicConstraintsValid = true
	c.AuthorityKeyId = issuer.SubjectKeyId
	if c.SubjectKeyId, err = keyID(key.Public()); err != nil {
		return Pair{}, err
	}
	p, err := seal(c, issuer, key, signer)
	if err != nil {
		return Pair{}, err
	}
	return p, verify(p, issuer)
}

// verify holds a new certificate against its authority, so that a refusal comes
// now and not with the first connection.
func verify(p Pair, issuer *x509.Certificate) error {
	block, _ := pem.Decode(p.Cert)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(issuer)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return skerry.Errorf(skerry.Invalid, "the authority may not sign this: %w", err)
	}
	return nil
}

func (p Pair) read() (*x509.Certificate, crypto.Signer, error) {
	block, _ := pem.Decode(p.Cert)
	if block == nil {
		return nil, nil, skerry.Errorf(skerry.Invalid, "the authority's certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, skerry.Errorf(skerry.Invalid, "the authority's certificate: %w", err)
	}
	if !cert.IsCA {
		return nil, nil, skerry.Errorf(skerry.Invalid, "%q is not an authority: it cannot sign", cert.Subject.CommonName)
	}
	key, err := readKey(p.Key)
	if err != nil {
		return nil, nil, err
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, nil, skerry.Errorf(skerry.Invalid, "the authority's key and certificate do not belong together")
	}
	return cert, key, nil
}

// readKey reads a private key in the forms that Consul and OpenSSL write.
func readKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, skerry.Errorf(skerry.Invalid, "the authority's key is not PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "the authority's key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, skerry.Errorf(skerry.Invalid, "the authority's key cannot sign")
	}
	return signer, nil
}

// blank returns a certificate that begins now, with a serial number of 128 bits.
func blank(lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	// A minute back, for machines whose clocks are a little behind.
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(lifetime)}, nil
}

func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

func seal(c, issuer *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}),
	}, nil
}
