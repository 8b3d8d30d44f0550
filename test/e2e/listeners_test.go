package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// certificate writes a certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "skerry"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", keyDER), pool
}

func TestTLSAndHTTP2(t *testing.T) {
	cert, key, pool := certificate(t)
	https := program.Port(t)
	start(t, map[string]any{
		"ports": map[string]any{"https": https},
		"tls":   map[string]any{"https": map[string]any{"cert_file": cert, "key_file": key}},
	})
	url := "https://" + local(https) + "/v1/status/leader"
	for _, http2 := range []bool{true, false} {
		var protocols http.Protocols
		protocols.SetHTTP2(http2)
		protocols.SetHTTP1(!http2)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: &protocols}
		t.Cleanup(transport.CloseIdleConnections)
		r := request(t, &http.Client{Transport: transport}, "GET", url, "")
		if want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[http2]; r.status != 200 || r.proto != want {
			t.Errorf("%d over %s, want 200 over %s", r.status, r.proto, want)
		}
	}
	if _, err := tryRequest(http.DefaultClient, "GET", url, ""); err == nil {
		t.Error("a client that does not know the certificate was content with it")
	}
	c, err := api.NewClient(&api.Config{Address: local(https), Scheme: "https", TLSConfig: api.TLSConfig{CAFile: cert}})
	if err != nil {
		t.Fatal(err)
	}
	if leader, err := c.Status().Leader(); err != nil || leader == "" {
		t.Errorf("the official client over TLS: %q, %v", leader, err)
	}
}

func TestVerifyIncoming(t *testing.T) {
	cert, key, pool := certificate(t)
	https := program.Port(t)
	start(t, map[string]any{
		"ports": map[string]any{"https": https},
		"tls":   map[string]any{"https": map[string]any{"cert_file": cert, "key_file": key, "ca_file": cert, "verify_incoming": true}},
	})
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		certificates []tls.Certificate
		allowed      bool
	}{{[]tls.Certificate{pair}, true}, {nil, false}} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: tt.certificates}}
		t.Cleanup(transport.CloseIdleConnections)
		r, err := tryRequest(&http.Client{Transport: transport}, "GET", "https://"+local(https)+"/v1/status/leader", "")
		if allowed := err == nil && r.status == 200; allowed != tt.allowed {
			t.Errorf("with %d certificates: allowed %v, want %v (%v)", len(tt.certificates), allowed, tt.allowed, err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	a := start(t, map[string]any{
		"addresses":    map[string]any{"http": "127.0.0.1 unix://" + socket},
		"unix_sockets": map[string]any{"mode": "0600"},
	})
	look := func() {
		t.Helper()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
		defer transport.CloseIdleConnections()
		if r := request(t, &http.Client{Transport: transport}, "GET", "http://skerry/v1/agent/self", ""); r.status != 200 || !strings.Contains(r.body, `"n1"`) {
			t.Errorf("over the socket: %d %s", r.status, r.body)
		}
	}
	look()
	fi, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, want 0600", fi.Mode())
	}
	a.kill() // leaves the socket behind
	a.run()
	look()
}

func TestBodyLimit(t *testing.T) {
	a := start(t, nil)
	big := `{"Name": "web", "Meta": {"x": "` + strings.Repeat("x", 16<<20) + `"}}`
	for path, body := range map[string]string{
		"/v1/agent/service/register": big,
		"/v1/agent/check/register":   big,
		"/v1/catalog/register":       `{"Node": "` + strings.Repeat("x", 16<<20) + `"}`,
		"/v1/skerry/set":             `{"Services": [` + big + `]}`,
		"/v1/skerry/owner/o1":        `{"Node": "` + strings.Repeat("x", 16<<20) + `"}`,
	} {
		r := a.request("PUT", path, body)
		if r.status != http.StatusRequestEntityTooLarge || !strings.HasPrefix(r.body, "Request body too large, max size: ") {
			t.Errorf("PUT %s with 16 MiB: %d %.200s", path, r.status, r.body)
		}
	}
	a.ok("GET", "/v1/status/leader", "")
}

func TestConnectionLimit(t *testing.T) {
	a := start(t, map[string]any{"limits": map[string]any{"http_max_conns_per_client": 3}})
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", a.http)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		return c
	}
	ask := func(c net.Conn) string {
		io.WriteString(c, "GET /v1/status/leader HTTP/1.1\r\nHost: skerry\r\nConnection: close\r\n\r\n")
		data, err := io.ReadAll(c)
		if err != nil && len(data) == 0 {
			t.Fatal(err)
		}
		return string(data)
	}
	for range 3 {
		dial()
	}
	refused := dial()
	data, err := io.ReadAll(refused) // refused before it asks
	if err != nil || !strings.HasPrefix(string(data), "HTTP/1.1 429 ") || !strings.Contains(string(data), "Your IP is issuing too many concurrent connections, please rate limit your calls") {
		t.Errorf("the fourth connection got %q, %v", data, err)
	}
	if got := ask(open[0]); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("the first connection got %q", got)
	}
}

func TestRateLimit(t *testing.T) {
	a := start(t, map[string]any{"limits": map[string]any{"request_limits": map[string]any{"mode": "enforcing", "read_rate": 1, "write_rate": 1000}}})
	var refused reply
	for range 20 {
		if r := a.request("GET", "/v1/status/leader", ""); r.status == http.StatusTooManyRequests {
			refused = r
			break
		}
	}
	if refused.status == 0 {
		t.Fatal("20 reads at once were allowed where one a second is")
	}
	if refused.header.Get("Retry-After") == "" || !strings.Contains(refused.body, "limits.request_limits") {
		t.Errorf("the refusal does not help: %v %q", refused.header, refused.body)
	}
	a.register(`{"Name": "web"}`) // writes have a rate of their own
}
