// Package kubeapi runs a real Kubernetes API server on loopback, with an etcd of its own,
// for tests. There are no controllers and no nodes: objects are what tests write.
package kubeapi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// EnvAssets names the folder with kube-apiserver and etcd, as kubebuilder's tools have it.
const EnvAssets = "KUBEBUILDER_ASSETS"

const (
	within = 2 * time.Minute // in which the server must be ready
	admin  = "admin-of-the-test"
)

// Server is an API server.
type Server struct {
	// URL is its address, and CA the file with the certificate to trust.
	URL, CA string

	t         testing.TB
	assets    string
	dir       string
	etcd      string // its address
	http      *http.Client
	apiserver *exec.Cmd
}

// Start runs a server until the test ends; without programs to run, the test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	assets := os.Getenv(EnvAssets)
	if assets == "" {
		t.Skipf("%s does not name a folder with kube-apiserver and etcd", EnvAssets)
	}
	address := func() string { return fmt.Sprint("127.0.0.1:", program.Port(t)) }
	etcd, peer := address(), address()
	s := &Server{t: t, assets: assets, dir: t.TempDir(), etcd: etcd, URL: "https://" + address()}
	s.CA = filepath.Join(s.dir, "apiserver.crt")
	s.write("tokens.csv", []byte(admin+",admin,1,system:masters\n"))
	s.write("accounts.pem", key(t))
	s.run("etcd", "--data-dir="+filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync=true", "--log-level=error",
		"--listen-client-urls=http://"+etcd, "--advertise-client-urls=http://"+etcd,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=default=http://"+peer)
	s.Restart()
	return s
}

// key makes the key that signs the tokens of service accounts.
func key(t testing.TB) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (s *Server) write(name string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run starts a program until the test ends.
func (s *Server) run(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(s.assets, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	log.Close()
	if err != nil {
		s.t.Fatalf("%s: %v", EnvAssets, err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // again, if it was stopped: that is an error of no interest
		if data, err := os.ReadFile(log.Name()); err == nil && s.t.Failed() {
			s.t.Logf("%s:\n%s", name, data[max(0, len(data)-3000):])
		}
	})
	return cmd
}

// Kill ends the API server without a warning. Its data stay.
func (s *Server) Kill() {
	s.apiserver.Process.Kill()
	s.apiserver.Wait()
}

// Restart starts the API server, and returns when it is ready.
func (s *Server) Restart() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.URL[len("https://"):])
	accounts := filepath.Join(s.dir, "accounts.pem")
	s.apiserver = s.run("kube-apiserver", "--etcd-servers=http://"+s.etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port="+port, "--cert-dir="+s.dir, "--authorization-mode=RBAC", "--token-auth-file="+filepath.Join(s.dir, "tokens.csv"),
		"--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24")
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		err := s.ready()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("the API server is not ready: %v", err)
		}
	}
}

func (s *Server) ready() error {
	ca, err := os.ReadFile(s.CA)
	if err != nil {
		return err // it makes one
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("no certificate in %s", s.CA)
	}
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	s.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	if code, body := s.Ask(admin, "GET", "/readyz", nil); code != http.StatusOK {
		return fmt.Errorf("%d %s", code, body)
	}
	return nil
}

// Ask makes a request with a token; code is 0 when there was no answer, and body has the
// reason then. The request is sent as JSON, or as YAML if it is bytes.
func (s *Server) Ask(token, method, path string, send any) (code int, body []byte) {
	s.t.Helper()
	data, kind := []byte(nil), "application/json"
	switch send := send.(type) {
	case nil:
	case []byte:
		data, kind = send, "application/yaml"
	default:
		var err error
		if data, err = json.Marshal(send); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, s.URL+path, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, body
}

// Do makes a request as the administrator, which must succeed, and reads the answer
// into out, if that is not nil.
func (s *Server) Do(method, path string, send, out any) {
	s.t.Helper()
	code, body := s.Ask(admin, method, path, send)
	if code < 200 || code > 299 {
		s.t.Fatalf("%s %s: %d %s", method, path, code, body)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// Token makes a token of a service account.
func (s *Server) Token(namespace, account string) string {
	s.t.Helper()
	var out struct{ Status struct{ Token string } }
	s.Do("POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token",
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{}}, &out)
	return out.Status.Token
}

// Kubeconfig writes kubectl's configuration for a token, and returns the file.
func (s *Server) Kubeconfig(token, namespace string) string {
	s.t.Helper()
	config, err := json.Marshal(map[string]any{
		"current-context": "test",
		"clusters":        []any{map[string]any{"name": "test", "cluster": map[string]any{"server": s.URL, "certificate-authority": s.CA}}},
		"users":           []any{map[string]any{"name": "test", "user": map[string]any{"token": token}}},
		"contexts":        []any{map[string]any{"name": "test", "context": map[string]any{"cluster": "test", "user": "test", "namespace": namespace}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// Compact writes something of its own, and lets etcd forget all history up to that: a
// server that is started then has no version that anybody knows.
func (s *Server) Compact() {
	s.t.Helper()
	var status struct {
		Header struct{ Revision string }
	}
	s.askEtcd("/v3/kv/put", map[string]any{"key": []byte("/of-the-test"), "value": []byte("x")}, &status)
	s.askEtcd("/v3/kv/compaction", map[string]any{"revision": status.Header.Revision, "physical": true}, nil)
}

func (s *Server) askEtcd(path string, send, out any) {
	s.t.Helper()
	data, err := json.Marshal(send)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Post("http://"+s.etcd+path, "application/json", bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("etcd: %s: %s %s %v", path, resp.Status, body, err)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			s.t.Fatalf("etcd: %s: %v", path, err)
		}
	}
}
