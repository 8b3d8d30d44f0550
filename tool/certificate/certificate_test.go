package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

func authority(t *testing.T, domains ...string) Pair {
	t.Helper()
	uri := &url.URL{Scheme: "spiffe", Host: "id.consul"}
	p, err := Authority{CommonName: "A", Lifetime: time.Hour, Domains: domains, URI: uri}.New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parsed(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(p.Cert)
	if block == nil || len(rest) > 0 {
		t.Fatalf("not one PEM block: %s", p.Cert)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuthority(t *testing.T) {
	c := parsed(t, authority(t, "localhost", "consul"))
	if !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 || c.CheckSignatureFrom(c) != nil {
		t.Errorf("not an authority that signed itself: %+v", c)
	}
	if got := strings.Join(c.PermittedDNSDomains, " "); got != "localhost consul" || !c.PermittedDNSDomainsCritical {
		t.Errorf("may sign for %q, critical %v", got, c.PermittedDNSDomainsCritical)
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://id.consul" {
		t.Errorf("URIs %v", c.URIs)
	}
	if left := time.Until(c.NotAfter); left < 59*time.Minute || left > time.Hour {
		t.Errorf("it is valid for %v more, want an hour", left)
	}
	if other := parsed(t, authority(t)); other.SerialNumber.Cmp(c.SerialNumber) == 0 || len(other.PermittedDNSDomains) > 0 {
		t.Errorf("the second authority has number %v and domains %v", other.SerialNumber, other.PermittedDNSDomains)
	}
}

// A server and a client that hold certificates of one authority talk to each
// other; who has none, or one of another authority, does not.
func TestHandshake(t *testing.T) {
	ca, other := authority(t, "localhost", "consul"), authority(t)
	roots := x509.NewCertPool()
	roots.AddCert(parsed(t, ca))
	server := leaf(t, ca, Leaf{Name: "server.dc1.consul", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	defer s.Close()
	mine, foreign := leaf(t, ca, Leaf{Name: "cli.dc1.consul"}), leaf(t, other, Leaf{Name: "cli.dc1.consul"})
	tests := []struct {
		name, serverName string
		certs            []tls.Certificate
		want             string // part of the error; "" means it works
	}{
		{"by address", "", []tls.Certificate{mine}, ""},
		{"by name", "server.dc1.consul", []tls.Certificate{mine}, ""},
		{"by another name", "server.dc2.consul", []tls.Certificate{mine}, "valid for"},
		{"without a certificate", "", nil, "certificate required"},
		{"of another authority", "", []tls.Certificate{foreign}, "certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := &tls.Config{RootCAs: roots, Certificates: tt.certs, ServerName: tt.serverName}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}, Timeout: time.Minute}
			resp, err := client.Get(s.URL)
			if err != nil {
				if tt.want == "" || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				return
			}
			defer resp.Body.Close()
			if body, _ := io.ReadAll(resp.Body); tt.want != "" || string(body) != "cli.dc1.consul" {
				t.Errorf("the server saw %q, want an error %q", body, tt.want)
			}
		})
	}
}

func leaf(t *testing.T, ca Pair, l Leaf) tls.Certificate {
	t.Helper()
	l.Lifetime = time.Hour
	p, err := l.Sign(ca)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRefusals(t *testing.T) {
	ca, other := authority(t, "consul"), authority(t)
	ordinary, err := Leaf{Name: "a.consul", Lifetime: time.Hour}.Sign(ca)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		leaf Leaf
		ca   Pair
		want string
	}{
		{"a name outside the domains", Leaf{Name: "a.example.com"}, ca, "may not sign this"},
		{"the key of another", Leaf{Name: "a.consul"}, Pair{ca.Cert, other.Key}, "do not belong together"},
		{"not an authority", Leaf{Name: "a.consul"}, ordinary, "not an authority"},
		{"no certificate", Leaf{Name: "a.consul"}, Pair{[]byte("x"), ca.Key}, "certificate is not PEM"},
		{"no key", Leaf{Name: "a.consul"}, Pair{ca.Cert, []byte("x")}, "key is not PEM"},
		{"a certificate in place of the key", Leaf{Name: "a.consul"}, Pair{ca.Cert, ca.Cert}, "the authority's key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.leaf.Lifetime = time.Hour
			_, err := tt.leaf.Sign(tt.ca)
			if err == nil || !strings.Contains(err.Error(), tt.want) || skerry.KindOf(err) != skerry.Invalid {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
