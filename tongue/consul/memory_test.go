package consul_test

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/inprocess"
)

// floods are hostile requests: what is small on the wire and large in memory.
func floods() map[string]string {
	get := func(path string, header ...string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Join(header, "") + "\r\n"
	}
	send := func(method, path, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	}
	put := func(path, body string) string { return send("PUT", path, body) }
	many := func(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s, n), ",") }
	out := map[string]string{
		"long path":           get("/v1/kv/" + strings.Repeat("a", 100_000)),
		"escaped path":        get("/v1/kv/" + strings.Repeat("%61", 40_000)),
		"long name, cached":   get("/v1/health/service/" + strings.Repeat("a", 3_900) + "?cached"),
		"long filter":         get("/v1/health/service/web?filter=" + strings.Repeat("x", 60_000)),
		"comparisons":         get("/v1/catalog/service/web?filter=" + many("ServicePort==1+or+", 1_000) + "ServicePort==1"),
		"parentheses":         get("/v1/catalog/service/web?filter=" + strings.Repeat("(", 100_000)),
		"regular expressions": get("/v1/catalog/service/web?filter=" + many("ServiceID+matches+%60x{900}%60+or+", 1_000) + "ServicePort==1"),
		"tags":                get("/v1/health/service/web?" + strings.Repeat("tag=a&", 20_000)),
		"node metadata":       get("/v1/health/service/web?" + strings.Repeat("node-meta=a:b&", 9_000)),
		"unknown parameters":  get("/v1/kv/a?" + strings.Repeat("a&", 60_000)),
		"headers of one name": get("/v1/status/leader", strings.Repeat("A:1\r\n", 20_000)),
		"accept-encoding":     get("/v1/health/service/web", "Accept-Encoding: "+strings.Repeat("gzip,", 20_000)+"\r\n"),
		"long token":          get("/v1/health/service/web", "X-Consul-Token: "+strings.Repeat("a", 100_000)+"\r\n"),
		"waiting with a body": "GET /v1/health/service/none?wait=1ms&index=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("a", 100_000),

		"body that never comes": "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n",
		"value too large":       put("/v1/kv/a", strings.Repeat("a", 600_000)),
		"body too large":        put("/v1/agent/service/register", `{"Name":"`+strings.Repeat("a", 5<<20)+`"}`),
		"nested lists":          put("/v1/agent/service/register", strings.Repeat("[", 1_000_000)),
		"nested objects":        put("/v1/acl/auth-method", strings.Repeat(`{"a":`, 500_000)),
		"large event":           put("/v1/event/fire/e", strings.Repeat("a", 1_000_000)),
	}
	lists := map[string][]string{ // path, before, element, after
		"checks":     {"/v1/agent/service/register", `{"Name":"a","Checks":[`, `{},`, `]}`},
		"null check": {"/v1/agent/service/register", `{"Name":"a","Checks":[`, `null,`, `]}`},
		"some tags":  {"/v1/agent/service/register", `{"Name":"a","Tags":[`, `"",`, `]}`},
		"metadata":   {"/v1/agent/service/register", `{"Name":"a","Meta":{`, `"":"",`, `}}`},
		"arguments":  {"/v1/agent/check/register", `{"Name":"a","TTL":"1s","Args":[`, `"",`, `]}`},
		"header":     {"/v1/agent/check/register", `{"Name":"a","Header":{`, `"":[],`, `}}`},
		"addresses":  {"/v1/agent/service/register", `{"Name":"a","TaggedAddresses":{`, `"":{},`, `}}`},
		"operations": {"/v1/txn", `[`, `{},`, `]`},
		"set":        {"/v1/skerry/set", `{"Services":[`, `{},`, `]}`},
		"lease":      {"/v1/skerry/owner/o", `{"TTL":"10s","Services":[`, `{},`, `]}`},
		"records":    {"/v1/catalog/register", `{"Node":"n","Checks":[`, `{},`, `]}`},
		"policies":   {"/v1/acl/token", `{"Policies":[`, `{},`, `]}`},
		"failover":   {"/v1/query", `{"Service":{"Service":"a","Failover":{"Datacenters":[`, `"",`, `]}}}`},
	}
	for name, l := range lists {
		out["list of "+name] = put(l[0], l[1]+many(l[2], 1_000_000/len(l[2]))+l[3])
	}
	return out
}

// A request takes at most ten times its size and 256 KB of memory, its answer apart.
// All that is allocated counts, also what is free again at once.
func TestMemoryOfARequest(t *testing.T) {
	addr := inprocess.Start(t)
	s := target{address: addr}
	s.ask(t, http.MethodPut, "/v1/agent/service/register", "", `{"Name":"web","Port":80}`)
	answer := make([]byte, 64<<10)
	ask := func(request string) (status string, took int) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		raw := []byte(request)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conn.Write(raw) // the server may close before it has all
		if strings.Contains(request, "Content-Length: 500000") {
			time.Sleep(50 * time.Millisecond) // it waits for the body: nothing shows that
		} else {
			for first := true; ; first = false {
				n, err := conn.Read(answer)
				if first && n > 12 {
					status = string(answer[9:12])
				}
				if err != nil {
					break
				}
			}
		}
		runtime.ReadMemStats(&after)
		return status, int(after.TotalAlloc - before.TotalAlloc)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for name, request := range floods() {
		ask(request) // what is made once and kept does not count
		status, took := ask(request)
		for range 3 { // others in this process allocate too
			if _, again := ask(request); again < took {
				took = again
			}
		}
		factor := 10
		if strings.HasPrefix(name, "headers") {
			factor = 16 // net/http's own, for at most 128 KiB
		}
		if most := factor*len(request) + 256<<10; took > most {
			t.Errorf("%s: %d bytes of %d were taken by a request of %d (status %s)", name, took, most, len(request), status)
		}
		if status == "200" && strings.HasPrefix(name, "list of") {
			t.Errorf("%s was answered with 200", name)
		}
		runtime.GC()
	}
	if status, _ := s.ask(t, http.MethodGet, "/v1/health/service/web", "", ""); status != http.StatusOK {
		t.Errorf("health afterwards: %d", status)
	}
}
