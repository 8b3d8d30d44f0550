package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// write writes a file and returns its name.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func certificate(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// A pod's token is read anew when it has been renewed; HTTP/2 is spoken.
func TestInCluster(t *testing.T) {
	a := newAPIServer(t, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	a.token = "one"
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "")))
	dir := t.TempDir()
	write(t, dir, "ca.crt", certificate(a.server))
	write(t, dir, "namespace", "prod\n")
	write(t, dir, "token", "one\n")
	u, _ := url.Parse(a.server.URL)
	env := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
	access, err := inCluster(dir, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	api, err := newAPI(access)
	if err != nil {
		t.Fatal(err)
	}
	tell := sourcetest.Watch(t, &Source{api: api, namespace: access.namespace}, "web")
	expect(t, tell, "a=10.0.0.1:8080")
	eventually(t, "the watch", func() bool { return len(a.watches()) == 1 })
	write(t, dir, "token", "two")
	a.mu.Lock()
	a.token = "two"
	a.mu.Unlock()
	a.cutAll()
	eventually(t, "the next watch", func() bool { return len(a.watches()) == 2 })
	a.set("endpointslices/prod/web-1", eps(pod("b", "10.0.0.2", "")))
	expect(t, tell, "b=10.0.0.2:8080 left:a")

	if _, err := inCluster(dir, func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "KUBERNETES_SERVICE_HOST") {
		t.Errorf("outside of a pod: %v", err)
	}
}

func TestKubeconfig(t *testing.T) {
	asked := make(chan []*x509.Certificate, 100)
	a := newAPIServer(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, VerifyConnection: func(c tls.ConnectionState) error {
			asked <- c.PeerCertificates
			return nil
		}}
		s.StartTLS()
	})
	a.token = "secret"
	a.set("endpointslices/prod/web-1", eps(pod("a", "10.0.0.1", "")))
	dir := t.TempDir()
	write(t, dir, "ca.pem", certificate(a.server))
	pair := a.server.TLS.Certificates[0] // serves as the client's as well
	write(t, dir, "cert.pem", certificate(a.server))
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	write(t, dir, "token", "secret")
	file := write(t, dir, "config", `
apiVersion: v1
kind: Config
current-context: two
contexts:
- {name: one, context: {cluster: c, user: exec}}
- {name: two, context: {cluster: c, user: token, namespace: prod}}
- {name: cert, context: {cluster: c, user: cert, namespace: prod}}
- {name: lost, context: {cluster: none, user: token}}
clusters:
- name: c
  cluster: {server: "`+a.server.URL+`", certificate-authority: ca.pem}
users:
- {name: exec, user: {exec: {command: aws}}}
- {name: token, user: {token: secret}}
- {name: cert, user: {client-certificate: cert.pem, client-key: key.pem, tokenFile: token}}
`)
	open := func(query string) (client.Source, error) {
		return client.OpenSource("k8s:///?kubeconfig=" + file + query)
	}
	for query, certificates := range map[string]int{"": 0, "&context=cert": 1} {
		s, err := open(query)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, sourcetest.Watch(t, s, "web"), "a=10.0.0.1:8080")
		if got := <-asked; len(got) != certificates {
			t.Errorf("%q: %d client certificates", query, len(got))
		}
	}
	for rawURL, want := range map[string]string{
		"k8s:///?kubeconfig=" + file + "&context=one":  "only tokens and client certificates",
		"k8s:///?kubeconfig=" + file + "&context=lost": `no cluster "none"`,
		"k8s:///?kubeconfig=" + file + "&context=nope": `no context "nope"`,
		"k8s:///?kubeconfig=/nowhere":                  "no such file",
		"k8s:///?kubeconfig=a&server=b":                "exclude each other",
		"k8s:///?server=nonsense":                      "want a URL",
		"k8s://a,b/?server=http://x":                   "want one at most",
		"k8s://a/web:80?server=http://x":               `give "web:80" to Watch`,
		"kubernetes:///?nonsense=1":                    `unknown parameter "nonsense"`,
	} {
		if _, err := client.OpenSource(rawURL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", rawURL, err, want)
		}
	}
}

// A server whose certificate another authority signed is told from one that answers.
func TestUntrusted(t *testing.T) {
	a := newAPIServer(t, (*httptest.Server).StartTLS)
	if u := next(t, sourcetest.Watch(t, source(t, a), "web")); u.Err == nil || !strings.Contains(u.Err.Error(), "certificate") {
		t.Errorf("told %v", u)
	}
}
