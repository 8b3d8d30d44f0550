package door

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestSite(t *testing.T) {
	const (
		chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
		put    = http.MethodPut
		get    = http.MethodGet
	)
	type header map[string]string
	tests := []struct {
		name, method, host string
		header             header
		want               int
		says               string
	}{
		{"a program, any host", put, "skerry.internal:8500", nil, 200, ""},
		{"curl", get, "evil.example", header{"User-Agent": "curl/8"}, 200, ""},
		{"Go's client", put, "evil.example", header{"User-Agent": "Go-http-client/1.1"}, 200, ""},
		{"a proxy's headers", put, "skerry.internal", header{"X-Forwarded-For": "10.0.0.1", "Via": "1.1 x"}, 200, ""},
		{"a page of ours", put, "localhost:8500", header{"Origin": "http://localhost:8500", "Sec-Fetch-Site": "same-origin"}, 200, ""},
		{"typed in", get, "127.0.0.1:8500", header{"User-Agent": chrome, "Sec-Fetch-Site": "none"}, 200, ""},

		{"foreign origin", put, "localhost:8500", header{"Origin": "http://evil.example", "Content-Type": "text/plain"}, 403, "evil.example"},
		{"foreign origin, post", "POST", "127.0.0.1:8500", header{"Origin": "http://evil.example"}, 403, "evil.example"},
		{"foreign origin, delete", "DELETE", "127.0.0.1:8500", header{"Origin": "http://evil.example"}, 403, "evil.example"},
		{"another port", put, "localhost:8500", header{"Origin": "http://localhost:3000"}, 403, "localhost:3000"},
		{"no origin", put, "localhost:8500", header{"Origin": "null"}, 403, "null"},
		{"an empty site", put, "localhost:8500", header{"Sec-Fetch-Site": "cross-site"}, 403, "unnamed"},
		{"a sister site", put, "n1.node.consul:8500", header{"Sec-Fetch-Site": "same-site"}, 403, "unnamed"},
		{"a lie about the site", put, "localhost:8500", header{"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403, "evil"},
		{"a foreign referrer", put, "localhost:8500", header{"Referer": "http://evil.example/x"}, 403, "evil.example"},
		{"reading from a foreign page", get, "localhost:8500", header{"Origin": "http://evil.example"}, 200, ""},
		{"preflight", "OPTIONS", "localhost:8500", header{"Origin": "http://evil.example"}, 200, ""},
		{"an allowed page", put, "localhost:8500", header{"Origin": "https://ui.example.com"}, 200, ""},
		{"broken origin", put, "localhost:8500", header{"Origin": "http://%zz"}, 403, ""},

		{"a GET that changes", get, "localhost:8500/change", header{"Referer": "http://evil.example/"}, 403, "evil.example"},
		{"the same without a referrer", get, "localhost:8500/change", header{"User-Agent": chrome}, 403, "unnamed"},
		{"the same by a program", get, "localhost:8500/change", header{"User-Agent": "python-consul"}, 200, ""},
		{"the same typed in", get, "localhost:8500/change", header{"User-Agent": chrome, "Sec-Fetch-Site": "none"}, 200, ""},

		{"rebound name", get, "evil.example:8500", header{"User-Agent": chrome}, 403, "http_config.allowed_hosts"},
		{"rebound name, same origin", put, "evil.example:8500", header{"Origin": "http://evil.example:8500", "Sec-Fetch-Site": "same-origin"}, 403, "http_config.allowed_hosts"},
		{"by its cookie", get, "evil.example", header{"Cookie": "a=b"}, 403, "allowed_hosts"},
		{"by its referrer", get, "evil.example", header{"Referer": "http://evil.example/"}, 403, "allowed_hosts"},
		{"by its fetch mode", get, "evil.example", header{"Sec-Fetch-Mode": "cors"}, 403, "allowed_hosts"},
		{"a name that ends alike", get, "evilconsul", header{"User-Agent": chrome}, 403, "allowed_hosts"},
		{"a name that begins alike", get, "localhost.evil.example", header{"User-Agent": chrome}, 403, "allowed_hosts"},
		{"an address as a label", get, "127.0.0.1.evil.example", header{"User-Agent": chrome}, 403, "allowed_hosts"},
		{"no host", get, "", header{"User-Agent": chrome}, 403, "allowed_hosts"},
		{"IPv6", get, "[::1]:8500", header{"User-Agent": chrome}, 200, ""},
		{"an address elsewhere", get, "10.1.2.3", header{"User-Agent": chrome}, 200, ""},
		{"the node's name", get, "N1:8500", header{"User-Agent": chrome}, 200, ""},
		{"a name of the zone", get, "Consul.Service.Consul.:8500", header{"User-Agent": chrome}, 200, ""},
		{"a name of the second zone", get, "x.example.net", header{"User-Agent": chrome}, 200, ""},
		{"a name of the certificate", get, "registry.corp", header{"User-Agent": chrome}, 200, ""},
		{"a wildcard of the certificate", get, "a.wild.corp", header{"User-Agent": chrome}, 200, ""},
		{"an allowed host", get, "ui.example.com:443", header{"User-Agent": chrome}, 200, ""},
		{"below an allowed one", get, "a.apps.example.com", header{"User-Agent": chrome}, 200, ""},
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) })
	s := NewSite(prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	s.Set(Hosts{
		Node: "n1", Zones: []string{"consul.", "example.net."}, Allowed: []string{"ui.example.com", "*.apps.example.com"},
	})
	s.certify(func() []string { return []string{"registry.corp", "*.wild.corp"} })
	h := s.Guard(ok, func(r *http.Request) bool { return r.URL.Path == "/change" })
	for _, tt := range tests {
		host, path, _ := strings.Cut(tt.host, "/")
		r := httptest.NewRequest(tt.method, "/"+path, nil)
		r.Host = host
		for k, v := range tt.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: %d %s; want %d and %q", tt.name, w.Code, w.Body, tt.want, tt.says)
		}
	}
}

// A hostile name is told shortened, and the usual request costs no allocation.
func TestSiteCosts(t *testing.T) {
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	s := NewSite(prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).Guard(ok, func(*http.Request) bool { return false })
	r := httptest.NewRequest("GET", "/v1/health/service/web", nil)
	r.Header.Set("User-Agent", "Go-http-client/1.1")
	if n := testing.AllocsPerRun(100, func() { s.ServeHTTP(nil, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.Host = strings.Repeat("x", 100_000)
	r.Header.Set("Cookie", "a")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 403 || w.Body.Len() > 500 {
		t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
	}
}
