package door

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/testcert"
)

// signer is an authority that signs clients' certificates.
type signer struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newSigner(t *testing.T, name string) *signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{root, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (s *signer) sign(t *testing.T, until time.Time, use x509.ExtKeyUsage) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"}, NotBefore: s.root.NotBefore, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.root, &key.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A client's certificate is asked for as configured; one that is shown must be good,
// also where none is needed.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	authority, _ := testcert.Issue(t, dir, "server")
	ours, others := newSigner(t, "ours"), newSigner(t, "others")
	ca := filepath.Join(dir, "ours.pem")
	if err := os.WriteFile(ca, ours.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	clients := map[string]*tls.Certificate{
		"none": nil, "good": ours.sign(t, later, x509.ExtKeyUsageClientAuth), "of another authority": others.sign(t, later, x509.ExtKeyUsageClientAuth),
		"expired": ours.sign(t, time.Now().Add(-time.Hour), x509.ExtKeyUsageClientAuth), "for servers": ours.sign(t, later, x509.ExtKeyUsageServerAuth),
	}
	base := TLS{CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key")}
	optional, required := base, base
	optional.CAFile = ca
	required.CAFile, required.VerifyIncoming = ca, true
	for _, mode := range []struct {
		name string
		of   TLS
		lets map[string]bool
	}{
		{"not asked for", base, map[string]bool{"none": true, "good": true, "of another authority": true, "expired": true, "for servers": true}},
		{"optional", optional, map[string]bool{"none": true, "good": true}},
		{"required", required, map[string]bool{"good": true}},
	} {
		conf, err := mode.of.config()
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Listener = tls.NewListener(s.Listener, conf)
		s.Start()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		for name, cert := range clients {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				tc := &tls.Config{RootCAs: pool, MaxVersion: version}
				if cert != nil {
					// Shown whatever the server asks for.
					tc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
				}
				c := &http.Client{Transport: &http.Transport{TLSClientConfig: tc, DisableKeepAlives: true}, Timeout: 10 * time.Second}
				resp, err := c.Get("https://" + s.Listener.Addr().String())
				if err == nil {
					resp.Body.Close()
				}
				if (err == nil) != mode.lets[name] {
					t.Errorf("%s, a certificate %s, TLS %x: %v", mode.name, name, version, err)
				}
			}
		}
		s.Close()
	}
	// Without an authority of ours, everybody's whom this machine trusts would do.
	blind := base
	blind.VerifyIncoming = true
	if _, err := blind.config(); err == nil {
		t.Error("certificates are asked for, and nobody says whose")
	}
}
