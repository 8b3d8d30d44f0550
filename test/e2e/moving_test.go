package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry/pki"
)

// configure changes keys of an agent's configuration; nil takes one out.
func (a *agent) configure(changes map[string]any) {
	a.t.Helper()
	text, err := os.ReadFile(a.config)
	var config map[string]any
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	for k, v := range changes {
		if config[k] = v; v == nil {
			delete(config, k)
		}
	}
	a.write(config)
}

// calls are callers that try another process when one does not answer, as clients do.
type calls struct {
	t    *testing.T
	at   []*agent
	next atomic.Int64
	made atomic.Int64
}

// callWithin is how long a call is tried at all processes in turn: the election of a leader fits in.
const callWithin = 15 * time.Second

// do makes a call until a process answers with 200.
func (c *calls) do(method, path, body string) (answer string) {
	client := &http.Client{Timeout: 10 * time.Second}
	var last error
	for end := time.Now().Add(callWithin); time.Now().Before(end); {
		a := c.at[int(c.next.Add(1))%len(c.at)]
		r, err := tryRequest(client, method, "http://"+a.http+path, body)
		if err == nil && r.status == http.StatusOK {
			c.made.Add(1)
			return r.body
		}
		last = fmt.Errorf("%s: %d %s %w", a.http, r.status, r.body, err)
		time.Sleep(10 * time.Millisecond) // a client's pause
	}
	c.t.Errorf("%s %s: no process answers: %v", method, path, last)
	return ""
}

// load calls until stop is called: it looks services up, writes and reads keys, and keeps a session with a lock. It fails the test if
// an instance, a write, the session or the lock is lost.
func (c *calls) load(services ...string) (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	repeat := func(pause time.Duration, do func(n int)) {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-ended:
					return
				case <-time.After(pause):
					do(n)
				}
			}
		})
	}
	var session struct{ ID string }
	if err := json.Unmarshal([]byte(c.do("PUT", "/v1/session/create", `{"TTL": "20s", "LockDelay": "0s", "NodeChecks": []}`)), &session); err != nil {
		c.t.Fatal(err)
	}
	if got := c.do("PUT", "/v1/kv/lock?acquire="+session.ID, "x"); got != "true" {
		c.t.Fatalf("the lock: %s", got)
	}
	repeat(5*time.Millisecond, func(n int) {
		service := services[n%len(services)]
		if got := c.do("GET", "/v1/health/service/"+service+"?passing", ""); !strings.Contains(got, `"ID":"`+service+`-1"`) {
			c.t.Errorf("%s is lost: %s", service, got)
		}
	})
	repeat(5*time.Millisecond, func(n int) {
		key := fmt.Sprint("/v1/kv/n/", n%10)
		if got := c.do("PUT", key, strconv.Itoa(n)); got != "true" {
			c.t.Errorf("a write: %s", got)
		}
		if got := c.do("GET", key+"?raw&consistent", ""); got != strconv.Itoa(n) {
			c.t.Errorf("written was %d, read is %s", n, got)
		}
	})
	repeat(2*time.Second, func(int) { c.do("PUT", "/v1/session/renew/"+session.ID, "") })
	return func() {
		close(ended)
		all.Wait()
		if got := c.do("GET", "/v1/kv/lock?consistent", ""); !strings.Contains(got, session.ID) {
			c.t.Errorf("the lock is lost: %s", got)
		}
		c.t.Logf("%d calls", c.made.Load())
	}
}

// plainAt dials the ports between processes without TLS, and returns those that answer as they do to a plain process.
func (a *agent) plainAt() (answers []string) {
	a.t.Helper()
	c := a.configured()
	for port, ask := range map[int]struct{ say, want string }{
		c.Ports.Server:  {"GET /v1/skerry/link/introduction HTTP/1.1\r\nHost: a\r\n\r\n", `"Name"`},
		c.Ports.SerfLAN: {"GET /members HTTP/1.1\r\nHost: a\r\n\r\n", "peerURLs"},
		c.Ports.SerfWAN: {"PING\r\n", "INFO"},
	} {
		conn, err := net.Dial("tcp", local(port))
		if err != nil {
			a.t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Second))
		io.WriteString(conn, ask.say)
		text := make([]byte, 64<<10)
		n, _ := io.ReadAtLeast(conn, text, 40)
		conn.Close()
		if strings.Contains(string(text[:n]), ask.want) {
			answers = append(answers, ask.want)
		}
	}
	return answers
}

// A plain cluster is moved to TLS under load, one process after another, with a crash at each stage: no call fails, and no instance, session or
// lock is lost.
func TestAPlainClusterIsMovedToTLS(t *testing.T) {
	t.Parallel()
	all, at := servers(t, 3)
	for _, a := range all {
		a.leads()
	}
	web, db := joined(t, "web1", at), joined(t, "db1", at)
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	db.register(`{"ID": "db-1", "Name": "db", "Port": 82}`)
	s := &secured{all: all, at: at}
	c := &calls{t: t, at: append(slices.Clone(all), web, db)}
	for _, a := range c.at {
		a.finds("web", "web-1")
		a.finds("db", "db-1")
	}
	if got := all[0].plainAt(); len(got) != 3 {
		t.Fatalf("a plain server answers as one at %v only", got)
	}
	stop := c.load("web", "db")
	restart := func(a *agent) {
		t.Helper()
		a.kill()
		a.run()
	}
	back := func(a *agent) {
		t.Helper()
		restart(a)
		a.leads()
		a.ready(200, "true")
		all[0].voters(3)
	}

	// 1. Servers take both.
	token := firstToken(t, all[0].configured().DataDir, 3)
	for n, a := range all {
		a.configure(map[string]any{"join_token_file": token, "insecure_cluster": true})
		a.stop()
		a.run()
		a.leads()
		a.ready(200, "true")
		all[(n+1)%3].voters(3)
		back(all[(n+1)%3]) // a crash: of a plain one, then of one that was moved
		if n < 2 {
			await(t, "the next server is plain", func() error {
				if got := s.authority(t, 0); !got.Moving || !slices.Contains(got.Plain, fmt.Sprint("s", n+2)) {
					return fmt.Errorf("after %d servers: %+v", n+1, got)
				}
				return nil
			})
		}
	}
	left := func(want ...string) {
		t.Helper()
		for n := range all {
			awaitFor(t, 4*patience, fmt.Sprint("the nodes without TLS are ", want), func() error {
				if got := s.authority(t, n); !got.Moving || !slices.Equal(got.Plain, want) {
					return fmt.Errorf("s%d sees %+v", n+1, got)
				}
				return nil
			})
		}
	}
	left("db1", "web1")
	if out := all[1].does("ca", "status"); !strings.Contains(out, "plain:     db1, web1") {
		t.Errorf("ca status: %s", out)
	}

	// 2. Agents get certificates.
	agents, _ := s.token(t, 1, `{"Kind": "agent", "Uses": 2}`)
	for _, a := range []*agent{web, db} {
		a.configure(map[string]any{"join_token_file": agents, "insecure_cluster": true})
		restart(a)
		a.attached()
	}
	back(all[2])
	left()
	if out := all[1].does("ca", "status"); !strings.Contains(out, "plain:     no node") {
		t.Errorf("ca status: %s", out)
	}

	// 3. Nothing is plain any more.
	for n, a := range append(slices.Clone(all), web, db) {
		a.configure(map[string]any{"insecure_cluster": nil})
		if n < 3 {
			back(a)
			if n < 2 {
				back(all[n+1]) // a crash of one that takes both still
			}
			continue
		}
		restart(a)
		a.attached()
	}
	for _, a := range c.at {
		a.finds("web", "web-1")
		a.finds("db", "db-1")
	}
	stop()
	for n, a := range all {
		if got := a.plainAt(); len(got) > 0 {
			t.Errorf("s%d answers plain processes: %v", n+1, got)
		}
		if err := s.knocks(t, n, web.credentials()); err != nil {
			t.Errorf("s%d refuses an agent with a certificate: %v", n+1, err)
		}
	}
	if r := s.authority(t, 0); r.Moving {
		t.Errorf("the move goes on: %+v", r)
	}

	// It does not go back, and says so.
	all[0].kill()
	all[0].configure(map[string]any{"join_token_file": nil})
	refused := func(says string) {
		t.Helper()
		err := all[0].tryRun()
		if err == nil {
			t.Fatal("a plain server starts")
		}
		all[0].logs(says)
	}
	refused("has the certificate of a cluster with TLS")
	if err := os.Rename(filepath.Join(all[0].configured().DataDir, "pki"), filepath.Join(t.TempDir(), "pki")); err != nil {
		t.Fatal(err)
	}
	all[0].run()
	all[0].logs("a cluster does not go back to plain connections")
	all[1].voters(3)
}

// The same with certificates of an operator's authority: the gauge of each server tells when nothing is plain any more.
func TestAPlainClusterIsMovedToCertificatesOfAnOperator(t *testing.T) {
	if os.Getenv("SKERRY_MOVES") != "all" {
		t.Skip("it takes a minute: see make moves")
	}
	t.Parallel()
	ca, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := operator{t, ca}
	all, at := servers(t, 3)
	web := joined(t, "web1", at)
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	for _, a := range all {
		a.finds("web", "web-1")
	}
	every := append(slices.Clone(all), web)
	stop := (&calls{t: t, at: every}).load("web")
	again := func(a *agent, changes map[string]any) {
		t.Helper()
		a.configure(changes)
		a.stop()
		a.run()
		if a == web {
			a.attached()
			return
		}
		a.leads()
		a.ready(200, "true")
		a.voters(3)
	}
	for n, a := range every {
		name := pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: fmt.Sprint("s", n+1)}
		if a == web {
			name = pki.Name{Datacenter: "dc1", Kind: pki.Agent, Node: "web1"}
		}
		again(a, map[string]any{"insecure_cluster": true, "tls": o.files(t.TempDir(), name, time.Hour)})
	}
	for _, a := range all {
		awaitFor(t, 4*patience, "no node is plain", func() error {
			if m := a.ok("GET", "/metrics", "").body; !strings.Contains(m, "\nskerry_move_plain_nodes 0\n") {
				return fmt.Errorf("%s sees others", a.http)
			}
			return nil
		})
	}
	for _, a := range every {
		again(a, map[string]any{"insecure_cluster": nil})
	}
	stop()
	for n, a := range all {
		a.finds("web", "web-1")
		if got := a.plainAt(); len(got) > 0 {
			t.Errorf("s%d answers plain processes: %v", n+1, got)
		}
	}
}
