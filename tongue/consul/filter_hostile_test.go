package consul_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/inprocess"
)

// filtering are the endpoints that take ?filter.
var filtering = []string{
	"/v1/agent/services", "/v1/agent/checks", "/v1/agent/members", "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/web",
	"/v1/catalog/node-services/n1", "/v1/health/service/web", "/v1/health/state/any", "/v1/health/checks/web", "/v1/health/node/n1",
	"/v1/coordinate/nodes", "/v1/internal/ui/services", "/v1/internal/ui/nodes", "/v1/skerry/explain/web",
}

// A filter that is deep, large or ambiguous is refused at once by every endpoint,
// also with an index, and the server goes on.
func TestHostileFilters(t *testing.T) {
	s := target{address: inprocess.Start(t)}
	s.ask(t, http.MethodPut, "/v1/agent/service/register", "", `{"Name":"web","Port":80}`)
	long := strings.Repeat("x", 400)
	hostile := map[string]string{
		"40,000 parentheses": strings.Repeat("(", 40_000),
		"60 pairs":           strings.Repeat("(", 60) + "x" + strings.Repeat(")", 60),
		"16,000 nots":        strings.Repeat("not ", 16_000) + "ID == 1",
		"a large program":    "ID matches `" + strings.Repeat("x{1000}", 100) + "`",
		"many comparisons":   strings.Repeat("ID==1 or ", 4_000) + "ID==1",
	}
	for name, expression := range hostile {
		for _, path := range filtering {
			status, text := s.do(t, http.MethodGet, path, "filter="+url.QueryEscape(expression), "")
			if status == http.StatusOK || len(text) > 1000 {
				t.Errorf("%s on %s: %d, %d bytes", name, path, status, len(text))
			}
		}
	}
	_, text := s.ask(t, http.MethodGet, "/v1/skerry/explain/web", "filter="+url.QueryEscape("Service.ID == "+long), "")
	if len(text) > 800 {
		t.Errorf("explain repeats the filter for each instance: %d bytes", len(text))
	}
	for _, pattern := range []string{strings.Repeat("x{1000}", 100), strings.Repeat("(", 1_100), strings.Repeat(`\pL`, 300)} {
		if status, text := s.do(t, http.MethodPut, "/v1/event/fire/e", "node="+url.QueryEscape(pattern), ""); status != http.StatusInternalServerError {
			t.Errorf("event with the node filter %.20s: %d %.100s", pattern, status, text)
		}
		body := `{"Name":"q","Template":{"Type":"name_prefix_match","Regexp":"` + strings.ReplaceAll(pattern, `\`, `\\`) + `"},"Service":{"Service":"web"}}`
		if status, text := s.do(t, http.MethodPost, "/v1/query", "", body); status == http.StatusOK {
			t.Errorf("query with the template %.20s: %d %.100s", pattern, status, text)
		}
	}
	if status, _ := s.ask(t, http.MethodGet, "/v1/health/service/web", "", ""); status != http.StatusOK {
		t.Errorf("health afterwards: %d", status)
	}
}
