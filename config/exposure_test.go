package config

import (
	"strings"
	"testing"
)

func TestExposures(t *testing.T) {
	const open = `data_dir = "/x" node_name = "n1" `
	for _, tt := range []struct {
		name, hcl string
		want      string // names of exposures
		refused   bool
	}{
		{"loopback", ``, "", false},
		{"scripts on loopback", `enable_script_checks = true`, "", false},
		{"every address", `client_addr = "0.0.0.0"`, "anonymous_writes dns_without_acl http_without_acl http_without_tls", false},
		{"every IPv6 address", `client_addr = "::"`, "anonymous_writes dns_without_acl http_without_acl http_without_tls", false},
		{"one address among others", `client_addr = "127.0.0.1 10.0.0.1" ports { dns = -1 }`, "anonymous_writes http_without_acl http_without_tls", false},
		{"DNS alone", `addresses { dns = "0.0.0.0" }`, "dns_without_acl", false},
		{"a unix socket", `addresses { http = "unix:///x/s" }`, "", false},
		{"HTTP off", `client_addr = "10.0.0.1" ports { http = -1 dns = -1 }`, "", false},
		{"strict", `client_addr = "0.0.0.0" acl { enabled = true preset = "strict" }`, "http_without_tls", false},
		{"read-open", `client_addr = "0.0.0.0" acl { enabled = true preset = "read-open" }`, "http_without_tls", false},
		{"deny", `client_addr = "0.0.0.0" acl { enabled = true default_policy = "deny" }`, "http_without_tls", false},
		{"allow", `client_addr = "0.0.0.0" acl { enabled = true default_policy = "allow" }`, "anonymous_writes http_without_tls", false},
		{"open", `client_addr = "0.0.0.0" acl { enabled = true preset = "open" default_policy = "deny" }`, "anonymous_writes http_without_tls", false},
		{"dry run", `client_addr = "0.0.0.0" acl { enabled = true preset = "strict" dry_run = true }`, "anonymous_writes dns_without_acl http_without_acl http_without_tls", false},
		{"writes from here", `client_addr = "0.0.0.0" http_config { allow_write_http_from = ["127.0.0.0/8", "::1/128"] }`, "dns_without_acl http_without_acl http_without_tls", false},
		{"writes from there", `client_addr = "0.0.0.0" http_config { allow_write_http_from = ["127.0.0.0/8", "10.0.0.0/8"] }`, "anonymous_writes dns_without_acl http_without_acl http_without_tls", false},
		{"local scripts", `client_addr = "0.0.0.0" enable_local_script_checks = true ports { dns = -1 }`, "anonymous_writes http_without_acl http_without_tls", false},
		{"exposed scripts", `client_addr = "0.0.0.0" enable_script_checks = true`, "anonymous_writes dns_without_acl http_without_acl http_without_tls remote_scripts", true},
		{"exposed scripts on one address", `addresses { http = "10.0.0.1" } enable_script_checks = true`, "anonymous_writes http_without_acl http_without_tls remote_scripts", true},
		{"exposed scripts, dry run", `client_addr = "0.0.0.0" enable_script_checks = true acl { enabled = true dry_run = true preset = "strict" }`, "anonymous_writes dns_without_acl http_without_acl http_without_tls remote_scripts", true},
		{"exposed scripts, wanted", `client_addr = "0.0.0.0" enable_script_checks = true allow_exposed_scripts = true`, "anonymous_writes dns_without_acl http_without_acl http_without_tls remote_scripts", false},
		{"scripts with tokens", `client_addr = "0.0.0.0" enable_script_checks = true acl { enabled = true preset = "strict" }`, "http_without_tls remote_scripts", false},
		{"scripts, writes from here", `client_addr = "0.0.0.0" enable_script_checks = true http_config { allow_write_http_from = ["127.0.0.1/32"] }`, "dns_without_acl http_without_acl http_without_tls remote_scripts", false},
		{"HTTPS with client certificates", `addresses { https = "0.0.0.0" } ports { https = 8501 } enable_script_checks = true tls { https { cert_file = "c" key_file = "k" ca_file = "a" verify_incoming = true } }`, "", false},
		{"HTTPS without", `addresses { https = "0.0.0.0" } ports { https = 8501 } enable_script_checks = true tls { https { cert_file = "c" key_file = "k" } }`, "anonymous_writes http_without_acl remote_scripts", true},
		{"servers on loopback", `server = true bootstrap_expect = 3 bind_addr = "127.0.0.1"`, "", false},
		{"servers on a network", `server = true bootstrap_expect = 3 bind_addr = "10.0.0.1" insecure_cluster = true`, "insecure_cluster", false},
		{"a server alone on a network", `server = true bind_addr = "10.0.0.1"`, "", false},
		{"a server alone for agents of a network", `server = true bind_addr = "10.0.0.1" insecure_cluster = true`, "insecure_cluster", false},
		{"an agent", `bind_addr = "10.0.0.1" insecure_cluster = true retry_join = ["10.0.0.2"]`, "", false},
	} {
		c, _, err := Load(Source{HCL: []string{open + tt.hcl}})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var names []string
		for _, e := range c.Exposures() {
			names = append(names, e.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: exposed %q, want %q", tt.name, got, tt.want)
		}
		err = c.Validate()
		if refused := err != nil && strings.Contains(err.Error(), "allow_exposed_scripts"); refused != tt.refused {
			t.Errorf("%s: %v, want a refusal: %v", tt.name, err, tt.refused)
		}
	}
}
