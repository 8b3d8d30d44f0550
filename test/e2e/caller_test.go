package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// from returns a client whose address is a loopback one.
func from(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// put sends a written request with a header.
func put(t *testing.T, c *http.Client, url, header, value string) reply {
	t.Helper()
	req, err := http.NewRequest("PUT", url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, value)
	r, err := send(c, req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A server judges a request that an agent passes on by the address of the agent's client, and by no other word
// about addresses.
func TestServersKnowTheClientsOfAgents(t *testing.T) {
	t.Parallel()
	servers, at := serversWith(t, 1, map[string]any{"http_config": map[string]any{"allow_write_http_from": []string{"127.0.0.2/32"}}})
	a := joined(t, "web1", at)
	const key = "/v1/kv/a"
	for _, c := range []struct {
		at, from, said string
		want           int
	}{
		{a.http, "127.0.0.1", "", http.StatusForbidden},
		{a.http, "127.0.0.1", "127.0.0.2", http.StatusForbidden},
		{a.http, "127.0.0.2", "", http.StatusOK},
		{a.http, "127.0.0.2", "127.0.0.1", http.StatusOK},
		{servers[0].http, "127.0.0.1", "127.0.0.2", http.StatusForbidden},
		{servers[0].http, "127.0.0.2", "127.0.0.1", http.StatusOK},
	} {
		if r := put(t, from(c.from), "http://"+c.at+key, "X-Forwarded-For", c.said); r.status != c.want {
			t.Errorf("%+v: %d %s", c, r.status, r.body)
		}
	}
}

// A client cannot give a request an id, neither at a server nor at an agent.
func TestTheIDsOfClientsAreIgnored(t *testing.T) {
	t.Parallel()
	servers, at := servers(t, 1)
	a := joined(t, "web1", at)
	for i, url := range []string{"http://" + servers[0].http + "/v1/kv/a?cas=0", "http://" + a.http + "/v1/kv/b?cas=0"} {
		for _, want := range []string{"true", "false"} {
			r := put(t, http.DefaultClient, url, "X-Skerry-Request", "0 00112233445566778899aabbccddeeff again")
			if r.status != http.StatusOK || strings.TrimSpace(r.body) != want || r.header.Get("X-Skerry-Epoch") != "" {
				t.Errorf("%d: %d %s %v, want %s", i, r.status, r.body, r.header, want)
			}
		}
	}
}
