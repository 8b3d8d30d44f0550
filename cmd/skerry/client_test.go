package main

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// command runs one command line in this process.
func command(ctx context.Context, t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(ctx, append([]string{"skerry"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// asked is a fake agent that keeps the requests it got.
func asked(t *testing.T, answer string) (*httptest.Server, chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(s.Close)
	return s, requests
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := file("one", "from-file\n"), file("two", "from-env-file\n")
	tests := []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, nil, ""},
		{map[string]string{"CONSUL_HTTP_TOKEN": "c"}, nil, "c"},
		{map[string]string{"CONSUL_HTTP_TOKEN": "c", "SKERRY_HTTP_TOKEN": "s"}, nil, "s"},
		{map[string]string{"SKERRY_HTTP_TOKEN": "s", "CONSUL_HTTP_TOKEN_FILE": two}, nil, "from-env-file"},
		{map[string]string{"SKERRY_HTTP_TOKEN": "s"}, []string{"-token", "flag"}, "flag"},
		{map[string]string{"SKERRY_HTTP_TOKEN_FILE": two}, []string{"-token", "flag"}, "flag"},
		{map[string]string{"SKERRY_HTTP_TOKEN_FILE": two}, []string{"-token-file", one, "-token", "flag"}, "from-file"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			for _, name := range []string{"HTTP_TOKEN", "HTTP_TOKEN_FILE"} {
				for _, prefix := range []string{"SKERRY_", "CONSUL_"} {
					t.Setenv(prefix+name, "") // to have it put back
					os.Unsetenv(prefix + name)
				}
			}
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			agent, requests := asked(t, `["dc1"]`)
			// One through the library, one past it.
			for _, args := range [][]string{{"catalog", "datacenters"}, {"explain", "web", "-format=json"}} {
				args = append(args, "-http-addr", agent.URL)
				if code, _, stderr := command(t.Context(), t, append(args, tt.args...)...); code != 0 {
					t.Fatal(stderr)
				}
				if got := (<-requests).Header.Get("X-Consul-Token"); got != tt.want {
					t.Errorf("%s: token %q, want %q", args[0], got, tt.want)
				}
			}
		})
	}
}

func TestTLS(t *testing.T) {
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `["dc1"]`) }))
	agent.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell of refused handshakes
	agent.StartTLS()
	defer agent.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: agent.Certificate().Raw})
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	address := agent.Listener.Addr().String()
	ask := []string{"catalog", "datacenters", "-http-addr"}
	t.Run("an unknown authority", func(t *testing.T) {
		code, _, stderr := command(t.Context(), t, append(ask, agent.URL)...)
		if code != 1 || !strings.Contains(stderr, "certificate") {
			t.Errorf("code %d, %s", code, stderr)
		}
	})
	t.Run("a known one", func(t *testing.T) {
		if code, stdout, stderr := command(t.Context(), t, append(ask, agent.URL, "-ca-file", ca)...); code != 0 || stdout != "dc1\n" {
			t.Errorf("code %d, %s%s", code, stdout, stderr)
		}
	})
	t.Run("by variables", func(t *testing.T) {
		t.Setenv("SKERRY_HTTP_SSL", "true")
		t.Setenv("CONSUL_CACERT", ca)
		if code, _, stderr := command(t.Context(), t, append(ask, address)...); code != 0 {
			t.Error(stderr)
		}
	})
	t.Run("unverified, and ours before Consul's", func(t *testing.T) {
		t.Setenv("CONSUL_HTTP_SSL", "true")
		t.Setenv("CONSUL_HTTP_SSL_VERIFY", "false")
		if code, _, stderr := command(t.Context(), t, append(ask, address)...); code != 0 {
			t.Error(stderr)
		}
		t.Setenv("SKERRY_HTTP_SSL_VERIFY", "true")
		if code, _, _ := command(t.Context(), t, append(ask, address)...); code != 1 {
			t.Errorf("code %d although the certificate is to be verified", code)
		}
	})
	t.Run("another name", func(t *testing.T) {
		code, _, stderr := command(t.Context(), t, append(ask, agent.URL, "-ca-file", ca, "-tls-server-name", "other.invalid")...)
		if code != 1 || !strings.Contains(stderr, "other.invalid") {
			t.Errorf("code %d, %s", code, stderr)
		}
	})
}

func TestQueryParameters(t *testing.T) {
	agent, requests := asked(t, `{}`)
	for _, args := range [][]string{{"catalog", "services"}, {"explain", "web", "-format", "json"}} {
		args = append(args, "-datacenter", "dc2", "-stale", "-http-addr="+agent.URL)
		if code, _, stderr := command(t.Context(), t, args...); code != 0 {
			t.Fatal(stderr)
		}
		q := (<-requests).URL.Query()
		if q.Get("dc") != "dc2" || !q.Has("stale") {
			t.Errorf("%s: %v", args[0], q)
		}
	}
	if code, _, stderr := command(t.Context(), t, "explain", "web", "-tag", "a", "-tag=b", "-passing", "-http-addr", agent.URL); code != 0 {
		t.Fatal(stderr)
	}
	if r := <-requests; r.URL.Path != "/v1/skerry/explain/web" || len(r.URL.Query()["tag"]) != 2 || r.URL.Query().Get("passing") != "1" {
		t.Errorf("asked %s", r.URL)
	}
}

func TestMonitor(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "level %s json %s\n", r.FormValue("loglevel"), r.FormValue("logjson"))
		w.(http.Flusher).Flush()
		if r.FormValue("loglevel") == "debug" {
			<-r.Context().Done()
		}
	}))
	defer agent.Close()
	code, stdout, stderr := command(t.Context(), t, "monitor", "-log-level=WARN", "-log-json", "-http-addr", agent.URL)
	if code != 1 || stdout != "level warn json true\n" || !strings.Contains(stderr, "ended the stream") {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	// A stream that goes on is ended from here, and that is no failure.
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"skerry", "monitor", "-log-level=debug", "-http-addr", agent.URL}, nil, out, io.Discard)
	}()
	if text, err := bufio.NewReader(in).ReadString('\n'); err != nil || text != "level debug json \n" {
		t.Errorf("got %q, %v", text, err)
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestWatchPostsToURL(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string, 10)
	handler := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.Header.Get("X-Consul-Index") + " " + string(body)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer handler.Close()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch index := r.FormValue("index"); {
		case r.URL.Path == "/v1/agent/self":
			fmt.Fprint(w, `{"Config": {"NodeName": "here"}}`)
			return
		case index == "7":
			w.Header().Set("X-Consul-Index", "8")
			fmt.Fprint(w, `{"web": ["b"]}`)
		case index == "8":
			<-r.Context().Done()
		default:
			w.Header().Set("X-Consul-Index", "7")
			fmt.Fprint(w, `{"web": []}`)
		}
	}))
	defer agent.Close()
	var errs strings.Builder
	ended := make(chan int)
	go func() {
		args := []string{"skerry", "watch", "-type=services", "-http-handler", handler.URL, "-http-addr", agent.URL}
		ended <- run(ctx, args, nil, io.Discard, &errs)
	}()
	for _, want := range []string{`POST 7 {"web":[]}`, `POST 8 {"web":["b"]}`} {
		if text := <-got; text != want {
			t.Errorf("got %s, want %s", text, want)
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("code %d", code)
	}
	if !strings.Contains(errs.String(), "418") {
		t.Errorf("the handler's refusal is not told: %q", errs.String())
	}
}

func TestServicesWatchShowsChanges(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	change := make(chan struct{})
	var critical atomic.Bool
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "5")
		if r.FormValue("index") == "5" {
			// Only the checks change.
			if r.URL.Path != "/v1/health/state/any" {
				<-r.Context().Done()
				return
			}
			select {
			case <-change:
				w.Header().Set("X-Consul-Index", "6")
			case <-r.Context().Done():
				return
			}
		} else if r.FormValue("index") == "6" {
			<-r.Context().Done()
			return
		}
		switch r.URL.Path {
		case "/v1/health/state/any":
			fmt.Fprint(w, `[]`)
		case "/v1/catalog/services":
			fmt.Fprint(w, `{"web": []}`)
		default:
			status := "passing"
			if critical.Load() {
				status = "critical"
			}
			fmt.Fprintf(w, `[{"Node": {"Node": "n"}, "Service": {"ID": "web"}, "Checks": [{"CheckID": "c", "Status": %q, "Output": "down"}]}]`, status)
		}
	}))
	defer agent.Close()
	in, out := io.Pipe()
	ended := make(chan int)
	go func() {
		code := run(ctx, []string{"skerry", "services", "watch", "-http-addr", agent.URL}, nil, out, io.Discard)
		out.Close()
		ended <- code
	}()
	lines := bufio.NewScanner(in)
	next := func(prefix string) string {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return strings.Join(strings.Fields(lines.Text()), " ")
			}
		}
		t.Fatalf("the table ended before %q", prefix)
		return ""
	}
	if got := next("web"); got != "web 1 1 0 0" {
		t.Errorf("at first: %s", got)
	}
	critical.Store(true)
	close(change)
	if got := next("web"); got != "web 1 0 0 1 n/c: down" {
		t.Errorf("then: %s", got)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, in) }()
	if code := <-ended; code != 0 {
		t.Errorf("code %d", code)
	}
}
