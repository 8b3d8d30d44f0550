package consul_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/inprocess"
)

// documented are the beginnings of the texts that go with a status of 500: where
// Consul answers so, we do.
var documented = []string{
	"Scripts are disabled on this agent",
	"Must provide ", "Node '",
	"No path to datacenter",
	"Bad node ID:",
	"Failed to create boolean expression evaluator:",
	"Invalid node filter:", "Invalid service filter:", "Invalid tag filter:",
	"Cannot provide tag filter without service filter",
	"Invalid coordinate", "incompatible coordinate", "rejected bad coordinate",
	"agent: No node found with name",
	// of the quorum store
	"raft apply failed: ", "apply failed: ", "strconv.ParseUint: parsing ", "Invalid prepared query: ",
	"Invalid Session TTL ", "Session TTL ", "Invalid Behavior setting ",
	"1 error occurred:\n\t* Failed to join",
}

// target is a server under test.
type target struct{ address, token string }

// ask makes a request and fails on a panic, which ends the connection, and on a
// 5xx answer that is none of the documented ones.
func (s target) ask(t *testing.T, method, path, query, body string) (int, string) {
	t.Helper()
	status, text := s.do(t, method, path, query, body)
	if status >= 500 && !expected(status, path, text) {
		t.Errorf("%s %s?%s %q: %d %s", method, path, query, body, status, text)
	}
	return status, text
}

// do makes a request and fails on a panic.
func (s target) do(t testing.TB, method, path, query, body string) (int, string) {
	t.Helper()
	u := &url.URL{Scheme: "http", Host: s.address, Path: path, RawQuery: query}
	req := &http.Request{Method: method, URL: u, Header: http.Header{"X-Consul-Token": {s.token}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second) // no answer by then is a failure
	defer stop()
	resp, err := http.DefaultTransport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatalf("%s %s?%s %q: no answer: %v", method, path, query, body, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s?%s %q: half an answer: %v", method, path, query, body, err)
	}
	return resp.StatusCode, string(data)
}

func expected(status int, path, text string) bool {
	if status == http.StatusServiceUnavailable {
		return strings.HasPrefix(path, "/v1/agent/health/") // of what is critical
	}
	for _, prefix := range documented {
		if strings.HasPrefix(text, prefix) {
			return status == http.StatusInternalServerError
		}
	}
	return false
}

// bodies are the endpoints that take JSON, each with what it takes.
var bodies = []struct{ path, seed string }{
	{"/v1/agent/service/register", `{"ID": "a", "Name": "web", "Tags": ["x"], "Port": 80, "Meta": {"k": "v"}, "Weights": {"Passing": 2, "Warning": 1}, "Checks": [{"TTL": "1h", "Status": "passing"}, null]}`},
	{"/v1/agent/service/register", `{"Name": "web", "TaggedAddresses": {"lan": {"Address": "::1", "Port": 1}}, "Proxy": {"Mode": "x", "Upstreams": [{"config": {"a": 1}}]}, "Connect": {}, "Locality": {"Region": "r"}, "Ports": [{"Name": "p", "Port": 1}]}`},
	{"/v1/agent/check/register", `{"ID": "c", "Name": "c", "TTL": "10s", "ServiceID": "a", "SuccessBeforePassing": 3, "OutputMaxSize": 7}`},
	{"/v1/agent/check/register", `{"Name": "alias", "AliasService": "a", "AliasNode": "n1"}`},
	{"/v1/agent/check/update/c", `{"Status": "warning", "Output": "slow"}`},
	{"/v1/catalog/register", `{"Node": "m", "Address": "10.0.0.1", "Service": {"Service": "s", "Port": 1}, "Checks": [{"CheckID": "u", "Status": "passing", "Definition": {"Interval": "1s"}}], "SkipNodeUpdate": false}`},
	{"/v1/catalog/deregister", `{"Node": "m", "ServiceID": "s", "CheckID": ""}`},
	{"/v1/skerry/set", `{"Services": [{"ID": "a", "Name": "web", "Check": {"TTL": "1m"}}, {"Name": "db"}]}`},
	{"/v1/skerry/owner/o1", `{"Node": "job", "Address": "10.2.2.2", "TTL": "1h", "NodeMeta": {"z": "a"}, "Services": [{"Name": "worker"}]}`},
	{"/v1/skerry/owner/o1/beat", `{"Digest": "1f"}`},
	{"/v1/coordinate/update", `{"Node": "n1", "Coord": {"Error": 1.5, "Height": 0.00001, "Vec": [0, 0, 0, 0, 0, 0, 0, 0]}}`},
	{"/v1/event/fire/deploy", `v1`},
}

// probing are the words that make a check reach out; a fuzzed address could be
// anybody's.
var probing = []string{"http", "tcp", "udp", "grpc", "h2ping", "docker", "osservice", "os_service", `\u`, "args", "script"}

func FuzzBodies(f *testing.F) {
	s := target{address: inprocess.Start(f)}
	for i, b := range bodies {
		f.Add(uint8(i), b.seed)
		f.Add(uint8(i), strings.ToLower(b.seed))
		f.Add(uint8(i), "null")
		f.Add(uint8(i), "[]")
		f.Add(uint8(i), b.seed[:len(b.seed)/2])
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, body string) {
		lower := strings.ToLower(body)
		for _, word := range probing {
			if strings.Contains(lower, word) {
				t.Skip("could reach out")
			}
		}
		s.ask(t, "PUT", bodies[int(endpoint)%len(bodies)].path, "", body)
		// Whatever was taken in can be shown.
		for _, path := range []string{
			"/v1/agent/services", "/v1/agent/checks", "/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any",
			"/v1/health/service/web", "/v1/catalog/node/m", "/v1/skerry/explain/web", "/v1/internal/ui/services",
		} {
			if status, text := s.ask(t, "GET", path, "", ""); status != http.StatusOK || !json.Valid([]byte(text)) {
				t.Errorf("after %q: GET %s: %d %q", body, path, status, text)
			}
		}
		// Nothing piles up over a long run.
		s.ask(t, "PUT", "/v1/skerry/set", "", "{}")
	})
}

func FuzzQueries(f *testing.F) {
	s := target{address: inprocess.Start(f)}
	paths := []string{
		"/v1/health/service/web", "/v1/health/state/any", "/v1/health/node/n1", "/v1/health/checks/web",
		"/v1/catalog/service/web", "/v1/catalog/services", "/v1/catalog/nodes", "/v1/catalog/node/n1", "/v1/catalog/node-services/n1",
		"/v1/agent/services", "/v1/agent/service/web", "/v1/agent/checks", "/v1/agent/health/service/name/web",
		"/v1/event/list", "/v1/coordinate/nodes", "/v1/internal/ui/nodes", "/v1/skerry/explain/web",
	}
	set := `{"Services": [{"ID": "web", "Name": "web", "Tags": ["blue"], "Meta": {"v": "1"}, "Check": {"TTL": "1h"}}]}`
	for i := range paths {
		for _, q := range []string{
			"passing&tag=blue&near=_agent", "filter=Service.Meta.v==1", "filter=Name+matches+%22(%22", "index=1&wait=1s&stale", "consistent&stale",
			"node-meta=a:b&dc=dc1", "hash=abc&wait=5s", "cached&max_age=1s", "pretty&format=text", "index=18446744073709551615", "wait=-1s&index=7",
		} {
			f.Add(uint8(i), q)
		}
	}
	f.Fuzz(func(t *testing.T, path uint8, query string) {
		if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
			t.Skip("no client can send it")
		}
		s.ask(t, "PUT", "/v1/skerry/set", "", set)
		s.ask(t, "GET", paths[int(path)%len(paths)], query+"&wait=1ms", "")
	})
}
