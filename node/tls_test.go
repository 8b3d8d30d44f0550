package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/test/testcert"
	"github.com/skerryhq/skerry/tongue/consul"
)

func client(t *testing.T, conf *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestHTTPS(t *testing.T) {
	dir, authorities := t.TempDir(), t.TempDir()
	ca, _ := testcert.Issue(t, dir, "server")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	var pairs []tls.Certificate
	for _, name := range []string{"one", "two"} {
		own, pair := testcert.Issue(t, dir, name)
		if err := os.WriteFile(filepath.Join(authorities, name+".crt"), own, 0o600); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair)
	}
	_, stranger := testcert.Issue(t, dir, "stranger")
	s := running(t, Config{Door: door.Config{HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, TLS: door.TLS{
		CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key"), CAPath: authorities,
		VerifyIncoming: true, CipherSuites: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	}}}, nil)
	base := "https://" + s.Addrs().HTTPS[0]
	get := func(conf *tls.Config) (*http.Response, error) {
		conf.RootCAs = pool
		resp, err := client(t, conf).Get(base + "/v1/catalog/datacenters")
		if err == nil {
			defer resp.Body.Close()
			if body, _ := io.ReadAll(resp.Body); strings.TrimSpace(string(body)) != `["dc1"]` {
				t.Errorf("body %q", body)
			}
		}
		return resp, err
	}
	for i, pair := range pairs {
		resp, err := get(&tls.Config{Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		if resp.ProtoMajor != 2 || resp.TLS.NegotiatedProtocol != "h2" {
			t.Errorf("client %d: spoke %s, want HTTP/2", i, resp.Proto)
		}
	}
	for name, conf := range map[string]*tls.Config{
		"without a certificate":        {},
		"of another authority":         {Certificates: []tls.Certificate{stranger}},
		"with a cipher that is not in": {Certificates: pairs[:1], MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}},
		"with TLS 1.1":                 {Certificates: pairs[:1], MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11},
	} {
		if _, err := get(conf); err == nil {
			t.Errorf("a client %s was let in", name)
		}
	}
	resp, err := get(&tls.Config{Certificates: pairs[:1], MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.TLS.CipherSuite; got != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 && got != tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 {
		t.Errorf("cipher suite %s", tls.CipherSuiteName(got))
	}
}

// A reload reads the authorities of clients again: those of a new one are let in, those of one that went are not, not by a ticket of before
// either. A file that cannot be read changes nothing.
func TestAuthoritiesOfClientsAreReread(t *testing.T) {
	dir := t.TempDir()
	ca, _ := testcert.Issue(t, dir, "server")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	first, before := testcert.Issue(t, dir, "before")
	second, after := testcert.Issue(t, dir, "after")
	file := filepath.Join(dir, "clients.pem")
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(first)
	cfg := Config{Door: door.Config{HTTPS: []string{"127.0.0.1:0"}, TLS: door.TLS{
		CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key"), CAFile: file, VerifyIncoming: true,
	}}}
	s := running(t, cfg, func() (Config, error) { return completed(cfg), nil })
	clients := map[string]*http.Client{}
	for name, cert := range map[string]tls.Certificate{"before": before, "after": after} {
		clients[name] = client(t, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, ClientSessionCache: tls.NewLRUClientSessionCache(8)})
	}
	lets := func(want string) {
		t.Helper()
		for name, c := range clients {
			resp, err := c.Get("https://" + s.Addrs().HTTPS[0] + "/v1/status/leader")
			if err == nil {
				resp.Body.Close()
			}
			c.CloseIdleConnections()
			if (err == nil) != (name == want) {
				t.Errorf("the client %s: %v", name, err)
			}
		}
	}
	lets("before")
	put([]byte("no PEM"))
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file without certificates: %v", err)
	}
	lets("before")
	put(second)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	lets("after")
}

// A blocking query over HTTP/2 cannot be parked; it waits on, and a change answers it,
// whether it has a body or not.
func TestBlockingOverHTTP2(t *testing.T) {
	dir := t.TempDir()
	ca, _ := testcert.Issue(t, dir, "server")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	cfg := Config{Consul: consul.Config{ParkAfter: time.Millisecond}, Door: door.Config{HTTPS: []string{"127.0.0.1:0"}, TLS: door.TLS{
		CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key"), MinVersion: "TLSv1_3",
	}}}
	s := running(t, cfg, nil)
	base, c := "https://"+s.Addrs().HTTPS[0], client(t, &tls.Config{RootCAs: pool})
	resp, err := c.Get(base + "/v1/health/service/web")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("TLS version %x", resp.TLS.Version)
	}
	type answer struct {
		body string
		err  error
	}
	answers := make(chan answer, 2)
	next := base + "/v1/health/service/web?index=" + resp.Header.Get("X-Consul-Index") + "&wait=1m"
	for _, body := range []io.Reader{nil, strings.NewReader("PUT /v1/agent/service/register HTTP/1.1\r\n\r\n")} {
		req, err := http.NewRequest(http.MethodGet, next, body)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			resp, err := c.Do(req)
			if err != nil {
				answers <- answer{err: err}
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			answers <- answer{string(body), err}
		}()
	}
	req, err := http.NewRequest(http.MethodPut, base+"/v1/agent/service/register", strings.NewReader(`{"Name": "web"}`))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = c.Do(req); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for range 2 {
		if a := <-answers; a.err != nil || !strings.Contains(a.body, `"Service":"web"`) {
			t.Errorf("%q, %v; want web", a.body, a.err)
		}
	}
	old := client(t, &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12})
	if resp, err := old.Get(base + "/v1/catalog/datacenters"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.2 was let in where tls_min_version is TLSv1_3")
	}
}

// The requests of one address over HTTP/2 are bounded, however few connections they
// come over.
func TestHTTP2StreamsAreBounded(t *testing.T) {
	dir := t.TempDir()
	ca, _ := testcert.Issue(t, dir, "server")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	s := running(t, Config{Door: door.Config{HTTPS: []string{"127.0.0.1:0"}, Limits: door.Limits{ConnsPerClient: 2}, TLS: door.TLS{
		CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key"),
	}}}, nil)
	url, c := "https://"+s.Addrs().HTTPS[0]+"/v1/health/service/web", client(t, &tls.Config{RootCAs: pool})
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Fatalf("the protocol is %s", resp.Proto)
	}
	const streams = 2 * 5 // of each connection
	next := url + "?wait=1m&index=" + resp.Header.Get("X-Consul-Index")
	statuses := make(chan int, streams+3)
	ctx, stop := context.WithCancel(t.Context())
	for range streams + 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, next, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			resp, err := c.Do(req)
			for err != nil && ctx.Err() == nil {
				// The client dialled one connection too many, which was refused.
				time.Sleep(time.Millisecond)
				resp, err = c.Do(req)
			}
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	for range 3 {
		if got := <-statuses; got != http.StatusTooManyRequests {
			t.Errorf("status %d beyond %d requests", got, streams)
		}
	}
	stop()
	for range streams {
		if got := <-statuses; got != 0 {
			t.Errorf("status %d of a request that was to wait", got)
		}
	}
}
