package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry/tongue/consul"
)

// newAuthority returns a function that makes a root certificate on its first call.
// Clients of Consul wait for one before they start. It signs nothing, so its key is not
// kept.
func newAuthority() func() (consul.RootCA, error) {
	return sync.OnceValues(makeRoot)
}

func makeRoot() (consul.RootCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return consul.RootCA{}, err
	}
	trust := uuid.NewString() + ".consul"
	now := time.Now()
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return consul.RootCA{}, err
	}
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "pri-" + trust[:8] + ".consul.ca"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(10, 0, 0),
		URIs:     []*url.URL{{Scheme: "spiffe", Host: trust}},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		IsCA:     true, BasicConstraintsValid: true, SubjectKeyId: id[:20], AuthorityKeyId: id[:20],
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return consul.RootCA{}, err
	}
	sum := sha256.Sum256(der)
	return consul.RootCA{
		ID: colons(sum[:20]), Name: "Skerry Root", TrustDomain: trust, Serial: 7, KeyID: colons(template.SubjectKeyId),
		NotBefore: template.NotBefore.UTC().Truncate(time.Second), NotAfter: template.NotAfter.UTC().Truncate(time.Second),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}, nil
}

func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}
