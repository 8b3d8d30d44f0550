package config

import (
	"slices"
	"strings"
	"testing"
)

// A server that is alone listens for agents where no other host can pose as one, unless it is told to.
func TestAgentsBind(t *testing.T) {
	for _, tt := range []struct {
		hcl  string
		dev  bool
		want string
	}{
		{`server = true`, false, "127.0.0.1"},
		{`server = true bind_addr = "10.0.0.1"`, false, "127.0.0.1"},
		{`server = true bind_addr = "127.0.0.2"`, false, "127.0.0.2"},
		{`server = true bind_addr = "10.0.0.1" insecure_cluster = true`, false, "10.0.0.1"},
		{`server = true insecure_cluster = true`, false, "0.0.0.0"},
		{`server = true bind_addr = "10.0.0.1" join_token_file = "t"`, false, "10.0.0.1"},
		{`server = true ports { server = -1 }`, false, ""},
		{`retry_join = ["127.0.0.1"]`, false, ""},
		{``, true, ""},
		{`ports { server = 8300 }`, true, "127.0.0.1"},
	} {
		c, _, err := Load(Source{HCL: []string{tt.hcl}, Dev: tt.dev})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.AgentsBind(); got != tt.want {
			t.Errorf("%s, dev %v: %q, want %q", tt.hcl, tt.dev, got, tt.want)
		}
	}
}

func TestJoinAddresses(t *testing.T) {
	c := Default()
	c.Ports.Server, c.Ports.SerfLAN = 8300, 8301
	c.RetryJoin = []string{"a", "b:9300", "10.0.0.1:8301", "::1", "[::1]:9300"}
	got, err := c.JoinAddresses()
	want := []string{"a:8300", "b:9300", "10.0.0.1:8300", "[::1]:8300", "[::1]:9300"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "a b", "a:x", "a:0", "http://a", "provider=aws tag_key=x"} {
		c.RetryJoin = []string{bad}
		if got, err := c.JoinAddresses(); err == nil || !strings.Contains(err.Error(), "retry_join") {
			t.Errorf("%q gives %v, %v", bad, got, err)
		}
	}
}

func TestServersAmongSeveral(t *testing.T) {
	for _, tt := range []struct{ name, hcl, want string }{
		{"alone", `server = true bootstrap_expect = 1`, ""},
		{"an agent beside its servers", `retry_join = ["127.0.0.1", "localhost:9300"]`, ""},
		{"an agent on a network", `retry_join = ["a"]`, "insecure_cluster"},
		{"an agent on a network that is trusted", `retry_join = ["a"] insecure_cluster = true`, ""},
		{"on loopback", `server = true bootstrap_expect = 3 bind_addr = "127.0.0.1"`, ""},
		{"on a network", `server = true retry_join = ["a"] bind_addr = "10.0.0.1"`, "insecure_cluster"},
		{"on a network that is trusted", `server = true retry_join = ["a"] bind_addr = "10.0.0.1" insecure_cluster = true`, ""},
		{"everywhere", `server = true bootstrap_expect = 3`, "insecure_cluster"},
		{"without a port", `server = true bootstrap_expect = 3 bind_addr = "127.0.0.1" ports { bus = -1 }`, "ports.bus"},
		{"a read server", `server = true retry_join = ["a"] bind_addr = "127.0.0.1" voting = false`, ""},
		{"a read server that forms", `server = true bootstrap_expect = 3 bind_addr = "127.0.0.1" voting = false`, "bootstrap_expect"},
		{"a read server alone", `server = true voting = false`, "retry_join"},
		{"an agent without a vote", `voting = false`, "server = true"},
		{"on a network with a token", `server = true retry_join = ["a"] bind_addr = "10.0.0.1" join_token_file = "t"`, ""},
		{"an agent on a network with a token", `retry_join = ["a"] join_token_file = "t"`, ""},
		{"a token and plain text", `server = true retry_join = ["a"] insecure_cluster = true join_token_file = "t"`, ""},
		{"an agent with a token alone", `join_token_file = "t"`, "retry_join"},
		{"certificates for a moment", `server = true join_token_file = "t" tls { node_ttl = "1s" }`, "tls.node_ttl"},
		{"a user without a NATS", `bus { user = "u" }`, "bus.url"},
	} {
		c, _, err := Load(Source{HCL: []string{`data_dir = "/x" node_name = "n1" ` + tt.hcl}})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if err := c.Validate(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
