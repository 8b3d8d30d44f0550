package http

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

func probe(t *testing.T, ctx context.Context, d skerry.CheckDefinition) check.Result {
	t.Helper()
	table := check.Table{Kind()}
	d.Interval = time.Second
	if err := table.Validate(&d, check.Policy{}); err != nil {
		t.Fatal(err)
	}
	d = table.Clamped(&d, 0)
	p, err := table[0].New(&d)
	if err != nil {
		t.Fatal(err)
	}
	return p.Check(ctx)
}

func serve(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	for _, code := range []int{200, 204, 299, 302, 404, 429, 500} {
		mux.HandleFunc(fmt.Sprint("/", code), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %v %s %s %s", r.Method, r.Host, body, r.Header["X-A"], r.UserAgent(), r.Header.Get("Accept"), r.Header.Get("Connection"))
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/429", http.StatusFound) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		io.WriteString(w, strings.Repeat("x", 5000))
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestStatus(t *testing.T) {
	s := serve(t)
	for path, want := range map[string]skerry.Health{
		"/200": skerry.Passing, "/204": skerry.Passing, "/299": skerry.Passing, "/429": skerry.Warning,
		"/302": skerry.Critical, "/404": skerry.Critical, "/500": skerry.Critical, "/moved": skerry.Warning,
	} {
		if r := probe(t, t.Context(), skerry.CheckDefinition{HTTP: s.URL + path, DisableRedirects: path == "/302"}); r.Status != want {
			t.Errorf("%s: %v, want %s", path, r, want)
		}
	}
	if r := probe(t, t.Context(), skerry.CheckDefinition{HTTP: s.URL + "/moved", DisableRedirects: true}); r.Status != skerry.Critical {
		t.Errorf("a redirect that is not followed: %v", r)
	}
}

func TestOutput(t *testing.T) {
	s := serve(t)
	host := strings.TrimPrefix(s.URL, "http://")
	x := strings.Repeat("x", 4096)
	tests := []struct {
		d    skerry.CheckDefinition
		want string
	}{
		{skerry.CheckDefinition{HTTP: s.URL + "/200"}, "HTTP GET " + s.URL + "/200: 200 OK Output: "},
		{skerry.CheckDefinition{HTTP: s.URL + "/echo"},
			"HTTP GET " + s.URL + "/echo: 200 OK Output: GET " + host + "  [] Skerry Health Check text/plain, text/*, */* close"},
		{skerry.CheckDefinition{HTTP: s.URL + "/echo", Method: "POST", Body: "hi", Header: map[string][]string{"host": {"web.example"}, "x-a": {"b", "c"}, "User-Agent": {"me"}}},
			"HTTP POST " + s.URL + "/echo: 200 OK Output: POST web.example hi [b c] me text/plain, text/*, */* close"},
		{skerry.CheckDefinition{HTTP: s.URL + "/long"}, "HTTP GET " + s.URL + "/long: 200 OK Output: " + x + " ... (captured 4096 of 5000 bytes)"},
		{skerry.CheckDefinition{HTTP: s.URL + "/endless"}, "HTTP GET " + s.URL + "/endless: 200 OK Output: " + x + " ... (captured the first 4096 bytes)"},
		{skerry.CheckDefinition{HTTP: "http://u:secret@" + host + "/200"}, "HTTP GET http://u:xxxxx@" + host + "/200: 200 OK Output: "},
		{skerry.CheckDefinition{HTTP: "http://127.0.0.1:1/"}, `Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused`},
		{skerry.CheckDefinition{HTTP: "ftp://127.0.0.1:1/"}, `Get "ftp://127.0.0.1:1/": unsupported protocol scheme "ftp"`},
		{skerry.CheckDefinition{HTTP: "://"}, `parse "://": missing protocol scheme`},
	}
	for _, tt := range tests {
		if r := probe(t, t.Context(), tt.d); r.Output != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.d.HTTP, r.Output, tt.want)
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := probe(t, ctx, skerry.CheckDefinition{HTTP: s.URL + "/silent"})
	if r.Status != skerry.Critical || !strings.Contains(r.Output, "deadline exceeded") {
		t.Errorf("%v", r)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.TLS.ServerName) }))
	defer s.Close()
	s.Config.ErrorLog = nil
	if r := probe(t, t.Context(), skerry.CheckDefinition{HTTP: s.URL}); r.Status != skerry.Critical || !strings.Contains(r.Output, "certificate") {
		t.Errorf("an unknown authority: %v", r)
	}
	r := probe(t, t.Context(), skerry.CheckDefinition{HTTP: s.URL, TLSSkipVerify: true, TLSServerName: "web.example"})
	if r.Status != skerry.Passing || !strings.HasSuffix(r.Output, "Output: web.example") {
		t.Errorf("without verification, with a name: %v", r)
	}
}
