package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/test/program"
)

// operator is an authority of an operator's own.
type operator struct {
	t  *testing.T
	ca *pki.Authority
}

// files writes the certificate of a process into a folder, and returns the keys of the configuration that name it.
func (o operator) files(dir string, n pki.Name, valid time.Duration) map[string]any {
	o.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		o.t.Fatal(err)
	}
	request, err := pki.Request(key)
	if err != nil {
		o.t.Fatal(err)
	}
	h, err := o.ca.Sign(request, n, time.Now(), valid)
	if err != nil {
		o.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		o.t.Fatal(err)
	}
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		write(o.t, path, string(text))
		return path
	}
	return map[string]any{"internal": map[string]any{
		"ca_file":   file("ca.pem", pki.EncodeCertificates(pki.Raw(h.Roots)...)),
		"cert_file": file("cert.pem", pki.EncodeCertificates(h.Chain[0].Raw)),
		"key_file":  file("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})),
	}}
}

// Servers and an agent show each other certificates of an operator's authority. A new certificate in the files is taken without
// an end of connections.
func TestCertificatesOfAnOperator(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := operator{t, ca}
	s := &secured{}
	ports := make([]int, 3)
	for i := range ports {
		ports[i] = program.Port(t)
		s.at = append(s.at, local(ports[i]))
	}
	for i, port := range ports {
		config := server(i+1, 3, port, s.at)
		config["tls"] = o.files(t.TempDir(), pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: fmt.Sprint("s", i+1)}, time.Hour)
		s.all = append(s.all, start(t, config))
	}
	for _, a := range s.all {
		a.leads()
	}
	dir, name := t.TempDir(), pki.Name{Datacenter: "dc1", Kind: pki.Agent, Node: "web1"}
	web := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": s.at, "tls": o.files(dir, name, time.Hour)})
	web.attached()
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	for _, a := range s.all {
		a.finds("web", "web-1")
	}
	s.strangers(t)
	other, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for n := range s.all {
		if err := s.knocks(t, n, forge(t, other, "s9")); err == nil {
			t.Errorf("s%d accepts a certificate of another authority", n+1)
		}
	}
	if r := s.all[0].request("PUT", "/v1/skerry/join-token", `{"Kind": "agent"}`); r.status != 501 {
		t.Errorf("a join token without an authority: %d %s", r.status, r.body)
	}

	times, _ := web.homes()
	o.files(dir, pki.Name{Datacenter: "dc1", Kind: pki.Agent, Node: "other"}, time.Hour)
	web.ok("PUT", "/v1/agent/reload", "")
	web.logs("want a certificate with the URI skerry://dc1/agent/web1")
	o.files(dir, name, 2*time.Hour)
	web.ok("PUT", "/v1/agent/reload", "")
	text, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	certs, _, err := pki.DecodeCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	web.logs("until=" + certs[0].NotAfter.UTC().Format("2006-01-02T15:04:05"))
	if again, _ := web.homes(); again != times {
		t.Errorf("the agent attached %d times, and %d before", again, times)
	}
	s.all[2].kill()
	s.all[2].run()
	s.all[2].finds("web", "web-1")
}
