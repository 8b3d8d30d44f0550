package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func startWithFiles(t *testing.T, n int) *agent {
	t.Helper()
	a := start(t, nil)
	a.key("first", "value") // the store is open
	a.stop()
	a.files = n
	a.run()
	a.key("second", "value")
	return a
}

// Clients that hold every connection they can get, idle, half asked or waiting, in
// HTTP and DNS, do not turn a healthy service critical, and stop no check, journal
// or store.
func TestClientsCannotTakeTheFiles(t *testing.T) {
	a := startWithFiles(t, 256)
	alive := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer alive.Close()
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	ask := func(method, path, body string) reply {
		t.Helper()
		r, err := tryRequest(once, method, "http://"+a.http+path, body)
		if err != nil || r.status != http.StatusOK {
			t.Fatalf("%s %s: %v %v", method, path, r, err)
		}
		return r
	}
	ask("PUT", "/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"CheckID":"web","HTTP":"`+alive.URL+`","Interval":"1s","Timeout":"1s"}}`)
	ask("PUT", "/v1/agent/service/register", `{"Name":"beats","Port":80,"Check":{"CheckID":"beats","TTL":"3s"}}`)
	status := func() string {
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			r, err := tryRequest(once, "GET", "http://"+a.http+"/v1/agent/checks", "")
			if m := checkStatus.FindStringSubmatch(r.body); err == nil && m != nil {
				return m[1]
			}
			if time.Now().After(end) {
				t.Fatalf("the agent answers nobody: %v %v", r, err)
			}
		}
	}
	for end := time.Now().Add(patience); status() != "passing"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the service does not pass")
		}
	}
	for i := range 400 { // 100 from each address: the limit of one is 200
		hold(t, i, a.http, "")
	}
	for i := range 200 {
		hold(t, i, a.dns, "")
	}
	for i := range 8 { // 5 s
		if s := status(); s != "passing" {
			t.Fatalf("the healthy service is %s", s)
		}
		ask("PUT", "/v1/agent/check/pass/beats", "")
		ask("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name":"more-%d","Port":80}`, i))
		ask("PUT", fmt.Sprintf("/v1/kv/key-%d", i), "value")
		for n := range 50 { // they come again
			hold(t, n, a.http, "GET /v1/agent/self HTTP/1.1\r\nHost: a\r\n")
		}
		time.Sleep(600 * time.Millisecond)
	}
	alive.Close()
	for end := time.Now().Add(patience); status() != "critical"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the check is not run any more")
		}
	}
	metrics := ask("GET", "/metrics", "").body
	for name, want := range map[string]func(float64) bool{
		`skerry_connections_closed_total{reason="idle"}`:        func(n float64) bool { return n > 0 },
		`skerry_check_own_faults_total{reason="files"}`:         func(n float64) bool { return n == 0 },
		`skerry_connections_limit`:                              func(n float64) bool { return n > 20 && n < 200 },
		`skerry_check_runners`:                                  func(n float64) bool { return n == 32 },
		`skerry_check_runs_total{kind="http",status="passing"}`: func(n float64) bool { return n > 5 },
	} {
		if n := metric(t, metrics, name); !want(n) {
			t.Errorf("%s is %v", name, n)
		}
	}
	a.kill()
	a.run()
	if r := ask("GET", "/v1/agent/services", ""); !strings.Contains(r.body, "more-7") {
		t.Error("what was registered meanwhile is gone after the restart")
	}
}

var checkStatus = regexp.MustCompile(`"CheckID":"web"[^}]*"Status":"(\w+)"`)

func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+name+" ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(line, 64)
	if !ok || err != nil {
		t.Fatalf("no metric %s: %v", name, err)
	}
	return n
}

// hold opens a connection from one of four addresses, sends that, and keeps it.
func hold(t *testing.T, i int, address, send string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return // refused, which is the agent's right
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, send)
}

// Where all connections wait for something, a new one is told why it is refused.
func TestRefusedForWantOfFiles(t *testing.T) {
	a := startWithFiles(t, 256)
	index := a.ok("GET", "/v1/kv/first", "").header.Get("X-Consul-Index")
	http.DefaultClient.CloseIdleConnections()
	for i := range 150 {
		hold(t, i, a.http, "GET /v1/kv/first?wait=1m&index="+index+" HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		r, err := tryRequest(once, "GET", "http://"+a.http+"/v1/status/leader", "")
		if err == nil && r.status == http.StatusServiceUnavailable {
			if r.header.Get("Retry-After") == "" || !strings.Contains(r.body, "open-file limit (256)") {
				t.Errorf("the refusal is %v", r)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody is refused: %v %v", r, err)
		}
	}
}
