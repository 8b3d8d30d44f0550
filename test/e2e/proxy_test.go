package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// Behind a proxy that shares its connections among clients, a body of one client's
// blocking query never becomes a request, nor an answer that another client gets.
func TestProxiesThatReuseConnections(t *testing.T) {
	a := start(t, nil)
	for name, proxy := range map[string]func(t *testing.T, front, back string){"haproxy": haproxyBefore, "nginx": nginxBefore} {
		t.Run(name, func(t *testing.T) {
			program.Need(t, name)
			front := local(program.Port(t))
			proxy(t, front, a.http)
			await(t, name, func() error {
				_, err := tryRequest(http.DefaultClient, "GET", "http://"+front+"/v1/status/leader", "")
				return err
			})
			a.ok("PUT", "/v1/agent/service/register", `{"Name": "web", "ID": "web-1"}`)
			for round := range 5 {
				smuggle(t, a, front, round)
			}
			if services := a.ok("GET", "/v1/catalog/services", ""); strings.Contains(services.body, "smuggled") {
				t.Errorf("a request in a body was executed: %s", services.body)
			}
		})
	}
}

// smuggle sends blocking queries with a request in their bodies, in several framings,
// while others ask through the same proxy.
func smuggle(t *testing.T, a *agent, front string, round int) {
	t.Helper()
	const inner = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{\"Name\":\"smuggled\"}"
	index := a.ok("GET", "/v1/health/service/web", "").header.Get("X-Consul-Index")
	framings := []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
		fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"\r\n",
	}
	var conns []net.Conn
	for _, framing := range framings {
		c, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /v1/health/service/web?wait=20s&index=%s HTTP/1.1\r\nHost: x\r\n%s", index, framing)
		conns = append(conns, c)
	}
	time.Sleep(400 * time.Millisecond) // they are parked: nothing shows that through a proxy
	a.ok("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name": "web", "ID": "web-%s-%d"}`, front, round))
	victims := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 40 {
		r, err := tryRequest(victims, "GET", fmt.Sprintf("http://%s/v1/agent/service/none-%d", front, i), "")
		if err != nil || r.status != http.StatusNotFound || !strings.Contains(r.body, fmt.Sprintf("none-%d", i)) {
			t.Fatalf("another client got %d %q, %v", r.status, r.body, err)
		}
	}
	for i, c := range conns {
		c.SetReadDeadline(time.Now().Add(patience))
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		for err == nil && resp.StatusCode == http.StatusContinue {
			resp, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			t.Errorf("framing %d: %v", i, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), fmt.Sprintf("web-%s-%d", front, round)) {
			t.Errorf("framing %d: %d %.200s", i, resp.StatusCode, body)
		}
	}
}

func haproxyBefore(t *testing.T, front, back string) {
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, config, haproxyHead+`  timeout server 60s
  http-reuse always
frontend in
  bind `+front+`
  default_backend out
backend out
  server skerry `+back+` maxconn 20 pool-max-conn 20
`)
	background(t, "haproxy", "-db", "-f", config)
}

func nginxBefore(t *testing.T, front, back string) {
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	write(t, config, `daemon off; pid `+dir+`/pid; error_log stderr;
events { worker_connections 200; }
http {
  access_log off; client_body_temp_path `+dir+`; proxy_temp_path `+dir+`; fastcgi_temp_path `+dir+`; uwsgi_temp_path `+dir+`; scgi_temp_path `+dir+`;
  upstream skerry { server `+back+`; keepalive 4; }
  server {
    listen `+front+`;
    location / { proxy_pass http://skerry; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; }
  }
}
`)
	background(t, "nginx", "-e", "stderr", "-c", config)
}
