package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// backend serves its own name over HTTP until it is closed.
type backend struct {
	*http.Server
	id string
	at *net.TCPAddr
}

func serve(t testing.TB, id, address string) *backend {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{id: id, at: l.Addr().(*net.TCPAddr), Server: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, id) }),
	}}
	go b.Serve(l)
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *backend) registration(service string, tags ...string) string {
	return fmt.Sprintf(`{"ID": %q, "Name": %q, "Address": %q, "Port": %d, "Tags": ["%s"]}`,
		b.id, service, b.at.IP, b.at.Port, strings.Join(tags, `", "`))
}

// visitor asks a balancer, each time over a connection of its own.
type visitor struct {
	t   testing.TB
	url string
	c   *http.Client
}

func visit(t testing.TB, address string) *visitor {
	return &visitor{t, "http://" + address + "/", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// seen returns who answers n requests, and the header X-Instances of the last
// answer; an error if one of them fails.
func (v *visitor) seen(n int) (ids []string, instances string, err error) {
	for range n {
		r, err := tryRequest(v.c, "GET", v.url, "")
		if err != nil {
			return nil, "", err
		}
		if r.status != http.StatusOK {
			return nil, "", fmt.Errorf("status %d: %.100s", r.status, r.body)
		}
		if !slices.Contains(ids, r.body) {
			ids = append(ids, r.body)
		}
		instances = r.header.Get("X-Instances")
	}
	slices.Sort(ids)
	return ids, instances, nil
}

// await waits until exactly those answer 20 requests in a row.
func (v *visitor) await(want ...string) {
	v.t.Helper()
	await(v.t, "the balancer", func() error {
		ids, _, err := v.seen(20)
		if err == nil && !slices.Equal(ids, want) {
			err = fmt.Errorf("%v answer, want %v", ids, want)
		}
		return err
	})
}

const haproxyHead = `global
  maxconn 500
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
`

// consul-template writes HAProxy's configuration from the catalog and has it
// reload; an instance that leaves costs no request.
func TestConsulTemplateAndHAProxy(t *testing.T) {
	program.Need(t, "haproxy", "sh")
	template := program.Build(t, "test/tools", "github.com/hashicorp/consul-template")
	a := start(t, nil)
	one, two, other := serve(t, "web-1", "127.0.0.1:0"), serve(t, "web-2", "127.0.0.1:0"), serve(t, "beta", "127.0.0.1:0")
	a.register(one.registration("web", "release"), two.registration("web", "release"), other.registration("web", "beta"))

	dir, front := t.TempDir(), local(program.Port(t))
	in, out, pid := filepath.Join(dir, "haproxy.ctmpl"), filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "pid")
	write(t, in, haproxyHead+`frontend web
  bind `+front+`
  http-response set-header X-Instances {{len (service "release.web")}}
  default_backend web
backend web
{{range service "release.web"}}  server {{.ID}} {{.Address}}:{{.Port}}
{{end}}`)
	once := exec.Command(template, "-consul-addr", a.http, "-template", in+":"+out, "-once")
	if msg, err := once.CombinedOutput(); err != nil {
		t.Fatalf("consul-template -once: %v\n%s", err, msg)
	}
	background(t, "haproxy", "-W", "-db", "-p", pid, "-f", out)
	background(t, template, "-consul-addr", a.http, "-template", in+":"+out+":kill -USR2 $(cat "+pid+")")
	v := visit(t, front)
	v.await("web-1", "web-2")

	// Visitors come all the time while one instance leaves, and see no failure.
	done, failed := make(chan struct{}), make(chan error, 1)
	var visitors sync.WaitGroup
	for range 4 {
		visitors.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, _, err := v.seen(1); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	a.ok("PUT", "/v1/agent/service/deregister/web-1", "")
	await(t, "the reload", func() error {
		if ids, n, err := v.seen(20); err != nil || n != "1" || !slices.Equal(ids, []string{"web-2"}) {
			return fmt.Errorf("%v answer, X-Instances %q, %v", ids, n, err)
		}
		return nil
	})
	one.Close() // nobody may be sent there any more
	ids, _, err := v.seen(200)
	close(done)
	visitors.Wait()
	if err != nil || !slices.Equal(ids, []string{"web-2"}) {
		t.Errorf("after the reload %v answer, %v; want web-2", ids, err)
	}
	select {
	case err := <-failed:
		t.Errorf("a request failed while the instance left: %v", err)
	default:
	}

	three := serve(t, "web-3", "127.0.0.1:0")
	a.register(three.registration("web", "release"))
	v.await("web-2", "web-3")
}

// HAProxy's server-template takes addresses and ports from our SRV records.
func TestHAProxyServerTemplate(t *testing.T) {
	program.Need(t, "haproxy")
	a := start(t, nil)
	one, two := serve(t, "web-1", "127.0.0.1:0"), serve(t, "web-2", "127.0.0.1:0")
	a.register(one.registration("web", "release"), two.registration("web", "release"))
	front := local(program.Port(t))
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, config, haproxyHead+`resolvers skerry
  nameserver one `+a.dns+`
  accepted_payload_size 8192
  timeout resolve 200ms
  timeout retry 200ms
  hold valid 200ms
  hold obsolete 0s
frontend web
  bind `+front+`
  default_backend web
backend web
  server-template web 5 _web._tcp.service.consul resolvers skerry resolve-prefer ipv4 init-addr none
`)
	background(t, "haproxy", "-db", "-f", config)
	v := visit(t, front)
	v.await("web-1", "web-2")
	a.ok("PUT", "/v1/agent/service/deregister/web-1", "")
	v.await("web-2")
	three := serve(t, "web-3", "127.0.0.1:0")
	a.register(three.registration("web"))
	v.await("web-2", "web-3")
}

// nginx resolves a name through our DNS again and again.
func TestNginx(t *testing.T) {
	program.Need(t, "nginx")
	a := start(t, nil)
	// DNS names carry no port to nginx, so both listen on the same.
	port := program.Port(t)
	one := serve(t, "web-1", fmt.Sprint("127.0.0.2:", port))
	two := serve(t, "web-2", fmt.Sprint("127.0.0.3:", port))
	a.register(one.registration("web"), two.registration("web"))
	dir, front := t.TempDir(), local(program.Port(t))
	config := filepath.Join(dir, "nginx.conf")
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += "  " + kind + "_temp_path " + filepath.Join(dir, kind) + ";\n"
	}
	write(t, config, `daemon off;
pid `+filepath.Join(dir, "pid")+`;
error_log stderr;
events { worker_connections 128; }
http {
  access_log off;
`+temporary+`  resolver `+a.dns+` valid=1s ipv6=off;
  server {
    listen `+front+`;
    location / {
      set $service web.service.consul;
      proxy_pass http://$service:`+fmt.Sprint(port)+`;
    }
  }
}
`)
	background(t, "nginx", "-e", "stderr", "-p", dir, "-c", config)
	v := visit(t, front)
	v.await("web-1", "web-2")
	a.ok("PUT", "/v1/agent/service/maintenance/web-1?enable=true", "")
	v.await("web-2")
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
