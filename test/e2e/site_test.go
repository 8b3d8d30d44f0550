package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// A web page of another site changes nothing and reads nothing, whichever way it tries;
// programs that use a name of their own go on working.
func TestWebPages(t *testing.T) {
	a := start(t, map[string]any{"legacy_api": true, "http_config": map[string]any{"allowed_hosts": []string{"ui.example.com"}}})
	a.ok("PUT", "/v1/agent/service/register", `{"Name": "web", "Check": {"TTL": "1h"}}`)
	ask := func(method, path, body string, header map[string]string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+a.http+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			if k == "Host" {
				req.Host = v
			} else {
				req.Header.Set(k, v)
			}
		}
		r, err := send(http.DefaultClient, req)
		if err != nil {
			t.Fatal(err)
		}
		return r.status, r.body
	}
	page := map[string]string{"Origin": "http://evil.example", "Content-Type": "text/plain", "User-Agent": "Mozilla/5.0"}
	rebound := map[string]string{"Host": "evil.example", "User-Agent": "Mozilla/5.0"}
	for _, tt := range []struct {
		method, path, body string
		header             map[string]string
		want               int
	}{
		{"POST", "/v1/query", `{"Name": "q", "Service": {"Service": "web"}}`, page, 403},
		{"PUT", "/v1/agent/service/register", `{"Name": "x", "Check": {"Args": ["true"], "Interval": "1s"}}`, page, 403},
		{"PUT", "/v1/kv/a", "b", page, 403},
		{"DELETE", "/v1/kv/a", "", page, 403},
		{"GET", "/v1/agent/check/fail/service:web", "", map[string]string{"Referer": "http://evil.example/"}, 403},
		{"GET", "/v1/agent/check/pass/service:web", "", nil, 200},
		{"GET", "/v1/catalog/services", "", rebound, 403},
		{"GET", "/metrics", "", rebound, 403},
		{"GET", "/v1/kv/a", "", rebound, 403},
		{"PUT", "/v1/kv/a", "b", map[string]string{"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403},
		{"PUT", "/v1/kv/a", "b", map[string]string{"Host": "registry.internal"}, 200},
		{"GET", "/v1/catalog/services", "", map[string]string{"Host": "ui.example.com", "User-Agent": "Mozilla/5.0"}, 200},
		{"PUT", "/v1/kv/a", "b", map[string]string{"Origin": "https://ui.example.com"}, 200},
	} {
		status, body := ask(tt.method, tt.path, tt.body, tt.header)
		if status != tt.want || status == 403 && !strings.Contains(body, "http_config.allowed_hosts") {
			t.Errorf("%s %s %v: %d %s, want %d", tt.method, tt.path, tt.header, status, body, tt.want)
		}
	}
	if r := a.ok("GET", "/v1/catalog/services", ""); strings.Contains(r.body, `"x"`) {
		t.Errorf("a page registered a service: %s", r.body)
	}
}

// What strangers can use is told in agent/self; what lets them run programs is refused.
func TestExposures(t *testing.T) {
	a := start(t, map[string]any{"addresses": map[string]any{"http": "0.0.0.0"}})
	var self struct{ Stats map[string]map[string]string }
	if err := json.Unmarshal([]byte(a.ok("GET", "/v1/agent/self", "").body), &self); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"http_without_acl", "http_without_tls", "anonymous_writes"} {
		if self.Stats["exposure"][name] == "" {
			t.Errorf("agent/self does not tell of %s: %v", name, self.Stats["exposure"])
		}
	}
	out, err := exec.Command(program.Skerry(t), "agent", "-data-dir", t.TempDir(), "-client", "0.0.0.0", "-enable-script-checks").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "allow_exposed_scripts") {
		t.Errorf("an agent that lets strangers run programs: %v\n%s", err, out)
	}
}
