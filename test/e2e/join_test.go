package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/pki/join"
	"github.com/skerryhq/skerry/test/program"
)

// secured is servers that form a cluster by one join token.
type secured struct {
	all []*agent
	at  []string // where they are joined
}

// startSecured makes the first token, then starts servers with it.
func startSecured(t *testing.T, n int, more map[string]any) *secured {
	t.Helper()
	s := &secured{}
	first := filepath.Join(t.TempDir(), "data")
	token := firstToken(t, first, n)
	ports := make([]int, n)
	for i := range ports {
		ports[i] = program.Port(t)
		s.at = append(s.at, local(ports[i]))
	}
	for i, port := range ports {
		config := server(i+1, n, port, s.at)
		config["join_token_file"] = token
		if i == 0 {
			config["data_dir"] = first
		}
		maps.Copy(config, more)
		s.all = append(s.all, start(t, config))
	}
	for _, a := range s.all {
		a.leads()
	}
	return s
}

// firstToken makes the authority and the first token, and returns the token's file.
func firstToken(t *testing.T, dataDir string, uses int) (file string) {
	t.Helper()
	out, err := exec.Command(program.Skerry(t), "token", "create", "-server", "-uses", fmt.Sprint(uses), "-data-dir", dataDir).Output()
	if err != nil {
		t.Fatal(err)
	}
	return tokenFile(t, string(out))
}

func tokenFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, secret)
	return file
}

// token asks a server for a join token.
func (s *secured) token(t *testing.T, at int, ask string) (file, id string) {
	t.Helper()
	var made struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(s.all[at].ok("PUT", "/v1/skerry/join-token", ask).body), &made); err != nil {
		t.Fatal(err)
	}
	return tokenFile(t, made.Secret), made.ID
}

// agent starts an agent with a token.
func (s *secured) agent(t *testing.T, node, token string) *agent {
	t.Helper()
	return start(t, map[string]any{"node_name": node, "server": false, "bootstrap_expect": 0, "retry_join": s.at, "join_token_file": token})
}

// configured is a part of an agent's configuration.
type configured struct {
	DataDir string `json:"data_dir"`
	Ports   struct {
		Server  int
		SerfLAN int `json:"serf_lan"` // of the quorum store
		SerfWAN int `json:"serf_wan"` // of the bus
	}
}

func (a *agent) configured() (c configured) {
	a.t.Helper()
	text, err := os.ReadFile(a.config)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// credentials are those that a process has on disk.
func (a *agent) credentials() *pki.Credentials {
	a.t.Helper()
	h, err := disk.Folder(filepath.Join(a.configured().DataDir, "pki")).Load()
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := pki.NewCredentials(h, time.Now)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// logs waits until an agent has logged that.
func (a *agent) logs(what string) {
	a.t.Helper()
	await(a.t, "the log says "+what, func() error {
		text, err := os.ReadFile(a.log.Name())
		if err == nil && !strings.Contains(string(text), what) {
			err = fmt.Errorf("it does not")
		}
		return err
	})
}

// One token forms a cluster, and another one lets an agent join. Strangers, used tokens and agents that pose as others do
// not get in. A node that is revoked is out at once.
func TestJoinTokens(t *testing.T) {
	t.Parallel()
	s := startSecured(t, 3, nil)
	s.all[1].register(`{"ID": "kv-1", "Name": "kv", "Port": 80}`)
	for _, a := range s.all {
		a.finds("kv", "kv-1")
	}
	token, id := s.token(t, 1, `{"Kind": "agent"}`)
	web := s.agent(t, "web1", token)
	web.attached()
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	for _, a := range append(s.all, web) {
		a.finds("web", "web-1")
		a.finds("kv", "kv-1")
	}
	if r := web.ok("PUT", "/v1/kv/a", "b"); r.body != "true" {
		t.Errorf("a key through the agent: %s", r.body)
	}

	// The token is used up. The agent serves its own host meanwhile.
	late := s.agent(t, "web2", token)
	late.logs("the join token is refused")
	late.register(`{"ID": "late-1", "Name": "late", "Port": 82}`)
	if r := s.all[0].ok("GET", "/v1/health/service/late", ""); r.body != "[]" {
		t.Errorf("an agent without a certificate is in: %s", r.body)
	}
	s.all[0].logs("it was used up")

	// A token for servers is not one for agents.
	if servers, _ := s.token(t, 0, `{"Kind": "server"}`); servers != "" {
		s.agent(t, "web3", servers).logs("the token is for a process of the kind server")
	}
	s.strangers(t)
	s.poses(t, web)

	// Without its token a process goes on: it has a certificate.
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	web.kill()
	web.run()
	web.attached()
	s.all[2].kill()
	s.all[2].run()
	s.all[2].finds("web", "web-1")

	// Revoked: its services go, and it does not come back.
	if r := s.all[0].ok("DELETE", "/v1/skerry/join-token/"+id+"?nodes", ""); !strings.Contains(r.body, "web1") {
		t.Errorf("the nodes of the token: %s", r.body)
	}
	for _, a := range s.all {
		a.finds("web")
	}
	web.logs("attached to no server")
	if r := web.request("GET", "/v1/status/ready", ""); r.status == http.StatusOK {
		t.Error("a revoked agent is attached")
	}
	if r := web.ok("GET", "/v1/agent/services", ""); !strings.Contains(r.body, "web-1") {
		t.Errorf("its own host has its service no more: %s", r.body)
	}
	if r := s.all[0].ok("GET", "/v1/skerry/joined", ""); strings.Contains(r.body, "web1") || !strings.Contains(r.body, "s3") {
		t.Errorf("the nodes are %s", r.body)
	}
}

// strangers tries the ports of the servers without a certificate.
func (s *secured) strangers(t *testing.T) {
	t.Helper()
	for _, a := range s.all {
		ports := a.configured().Ports
		for what, port := range map[string]int{"ports.server": ports.Server, "the quorum store": ports.SerfLAN, "the bus": ports.SerfWAN} {
			if r, err := tryRequest(http.DefaultClient, "GET", "http://"+local(port)+"/v1/skerry/link/introduction", ""); err == nil && r.status == http.StatusOK {
				t.Errorf("%s answers in plain text: %s", what, r.body)
			}
			c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
			if r, err := tryRequest(c, "GET", "https://"+local(port)+"/v1/skerry/link/introduction", ""); err == nil && r.status != http.StatusForbidden {
				t.Errorf("%s answers without a certificate: %d %s", what, r.status, r.body)
			}
		}
	}
}

// poses tries what an agent must not do, with its real certificate.
func (s *secured) poses(t *testing.T, web *agent) {
	t.Helper()
	creds := web.credentials()
	ports := s.all[0].configured().Ports

	// It has no business among servers.
	for what, port := range map[string]int{"the quorum store": ports.SerfLAN, "the bus": ports.SerfWAN} {
		d := tls.Dialer{Config: creds.Dial("dc1")}
		conn, err := d.DialContext(t.Context(), "tcp", local(port))
		if err != nil {
			continue
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, "GET /members HTTP/1.1\r\nHost: x\r\n\r\n")
		if got, err := io.ReadAll(conn); err == nil || len(got) > 0 {
			t.Errorf("an agent speaks to %s: %q, %v", what, got, err)
		}
		conn.Close()
	}

	// It speaks for its own node only.
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: creds.Dial("dc1"), ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+s.at[0]+"/v1/skerry/link/stream/owner", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Skerry-Node", "web9")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), `the certificate is for "web1"`) {
		t.Errorf("an agent speaks for another node: %d %s", resp.StatusCode, text)
	}

	// It gets no record of the quorum store.
	ask := strings.NewReader(`{"Key": "skerry/current", "Revision": 1}`)
	if req, err = http.NewRequestWithContext(t.Context(), "POST", "https://"+s.at[0]+"/v1/skerry/link/record", ask); err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Skerry-Via", "web1")
	if resp, err = c.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "are for servers") {
		t.Errorf("an agent asks for a record: %d %s", resp.StatusCode, text)
	}

	// It tells nothing of other datacenters.
	word := strings.NewReader(`{"From": {"Name": "web1", "Datacenter": "dc1"}}`)
	if req, err = http.NewRequestWithContext(t.Context(), "POST", "https://"+s.at[0]+"/v1/skerry/link/datacenters", word); err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Skerry-Via", "web1")
	if resp, err = c.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "from another server") {
		t.Errorf("an agent speaks for a datacenter: %d %s", resp.StatusCode, text)
	}

	// Its certificate is renewed as its own only, and gives no authority.
	for _, n := range []pki.Name{{Datacenter: "dc1", Kind: pki.Server, Node: "s1"}, {Datacenter: "dc1", Kind: pki.Server, Node: "web1"}, {Datacenter: "dc1", Kind: pki.Agent, Node: "web9"}} {
		if _, err := join.Renew(t.Context(), c.Transport, s.at[0], n, creds.Held().Key); err == nil || !strings.Contains(err.Error(), "the certificate is for skerry://dc1/agent/web1") {
			t.Errorf("an agent asks for the certificate of %v: %v", n, err)
		}
	}

	// It is no server to others.
	l, err := tls.Listen("tcp", "127.0.0.1:0", creds.Listen(true, "dc1", []pki.Kind{pki.Agent, pki.Server}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.(*tls.Conn).HandshakeContext(context.Background())
			conn.Close()
		}
	}()
	d := tls.Dialer{Config: s.all[0].credentials().Dial("dc1")}
	if conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("an agent poses as a server")
	}
}

// Certificates are renewed while streams stay, and keys are written.
func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	s := startSecured(t, 3, map[string]any{"tls": map[string]any{"node_ttl": "15s"}})
	token, _ := s.token(t, 0, `{"Kind": "agent"}`)
	web := s.agent(t, "web1", token)
	web.attached()
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	s.all[0].finds("web", "web-1")
	first := map[*agent]string{}
	for _, a := range append(s.all, web) {
		first[a] = a.credentials().Held().Leaf().SerialNumber.String()
	}
	times, _ := web.homes()
	ended := time.Now().Add(20 * time.Second) // the first certificates have ended then
	for n := 0; time.Now().Before(ended); n++ {
		if r := web.ok("PUT", fmt.Sprint("/v1/kv/a/", n), "b"); r.body != "true" {
			t.Fatalf("a key: %s", r.body)
		}
		if got := s.all[n%3].instances("web"); len(got) != 1 {
			t.Fatalf("s%d shows %v", n%3+1, got)
		}
	}
	for a, was := range first {
		if a.credentials().Held().Leaf().SerialNumber.String() == was {
			t.Errorf("%s has its first certificate still", a.http)
		}
	}
	if again, _ := web.homes(); again != times {
		t.Errorf("the agent attached %d times, and %d before", again, times)
	}
	s.all[1].kill()
	s.all[1].run()
	s.all[1].leads()
	s.all[1].finds("web", "web-1")
}

// A server without a certificate waits for one, and can be ended meanwhile.
func TestAServerWaitsForItsCertificate(t *testing.T) {
	t.Parallel()
	token := firstToken(t, filepath.Join(t.TempDir(), "elsewhere"), 1)
	cmd, output := sample(t, nil, program.Skerry(t), "agent", "-server", "-node", "s2", "-bind", "127.0.0.1", "-data-dir", t.TempDir(),
		"-retry-join", local(program.Port(t)), "-join-token-file", token, "-http-port", fmt.Sprint(program.Port(t)), "-dns-port", fmt.Sprint(program.Port(t)), "-server-port", fmt.Sprint(program.Port(t)))
	says(t, output, "waits for a certificate")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, "the end", func() error {
		if cmd.Process.Signal(syscall.Signal(0)) == nil {
			return fmt.Errorf("it runs still: %s", output())
		}
		return nil
	})
}
