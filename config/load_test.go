package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

var update = flag.Bool("update", false, "write the golden files and the table of README.md anew")

// told renders what a load brought: what differs from the defaults, warnings, errors.
func told(c *Config, ws []Warning, err error) string {
	var b strings.Builder
	if c != nil {
		def := map[string]reflect.Value{}
		walk(reflect.ValueOf(Default()).Elem(), Key{}, func(k Key, v reflect.Value) { def[k.Path] = v })
		walk(reflect.ValueOf(c).Elem(), Key{}, func(k Key, v reflect.Value) {
			if same(v, def[k.Path]) {
				return
			}
			text := written(v)
			if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
				j, _ := json.MarshalIndent(v.Interface(), "", "  ")
				text = string(j)
			}
			fmt.Fprintf(&b, "%s = %s\n", k.Path, text)
		})
	}
	for _, w := range ws {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nerror: "))
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (-update writes it anew):\n%s", name, got)
	}
}

func TestLoadGolden(t *testing.T) {
	for _, name := range []string{"full.hcl", "harness.json", "flat.json", "wrong.hcl", "invalid.hcl"} {
		t.Run(name, func(t *testing.T) {
			c, ws, err := Load(Source{Files: []string{filepath.Join("testdata", name)}})
			if err == nil {
				err = c.Validate()
			}
			golden(t, filepath.Join("testdata", name+".golden"), filepath.ToSlash(told(c, ws, err)))
		})
	}
}

func load(t *testing.T, src Source) *Config {
	t.Helper()
	c, _, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLaterSourcesWin(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.json", `{"log_level": "debug", "ports": {"http": 2}, "node_meta": {"b": "2"}, "services": [{"name": "b"}]}`)
	write(t, dir, "a.hcl", `log_level = "trace"
ports { http = 1, dns = 1 }
node_meta { a = "1", b = "1" }
recursors = ["192.0.2.1"]
service { name = "a" }`)
	write(t, dir, "notes.txt", "not a configuration")
	other := t.TempDir()
	first := write(t, other, "first", `{"datacenter": "dc2", "log_level": "error"}`)
	c := load(t, Source{
		Files: []string{first},
		Dirs:  []string{dir},
		HCL:   []string{`ports { https = 4 } recursors = ["192.0.2.2"]`, `{"ports": {"grpc": 5}}`},
		Flags: map[string]any{"ports.http": "3", "node_name": "n", "recursors": []string{"192.0.2.3"}, "server": "true", "bootstrap_expect": 1, "node_meta": map[string]string{"c": "3"}},
	})
	if c.Datacenter != "dc2" || c.LogLevel != "debug" || c.NodeName != "n" || !c.Server || c.BootstrapExpect != 1 {
		t.Errorf("got %q %q %q %v %d", c.Datacenter, c.LogLevel, c.NodeName, c.Server, c.BootstrapExpect)
	}
	if got := [4]int{c.Ports.HTTP, c.Ports.DNS, c.Ports.HTTPS, c.Ports.GRPC}; got != [4]int{3, 1, 4, 5} {
		t.Errorf("ports %v", got)
	}
	if want := map[string]string{"a": "1", "b": "2", "c": "3"}; !reflect.DeepEqual(c.NodeMeta, want) {
		t.Errorf("node_meta %v, want %v", c.NodeMeta, want)
	}
	if want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}; !reflect.DeepEqual(c.Recursors, want) {
		t.Errorf("recursors %v, want %v", c.Recursors, want)
	}
	if len(c.Services) != 2 || c.Services[0].Instance.ID != "a" || c.Services[1].Instance.ID != "b" {
		t.Errorf("services %+v", c.Services)
	}
}

func TestFolderAmongFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "x.hcl", `datacenter = "dc9"`)
	if c := load(t, Source{Files: []string{dir}}); c.Datacenter != "dc9" {
		t.Errorf("datacenter %q", c.Datacenter)
	}
}

func TestDerived(t *testing.T) {
	tests := map[string]struct {
		src  Source
		good func(*Config) bool
	}{
		"an agent leaves on SIGTERM": {Source{}, func(c *Config) bool { return c.LeaveOnTerminate && !c.SkipLeaveOnInterrupt }},
		"a server does not":          {Source{HCL: []string{`server = true`}}, func(c *Config) bool { return !c.LeaveOnTerminate && c.SkipLeaveOnInterrupt }},
		"unless told":                {Source{HCL: []string{`server = true leave_on_terminate = true skip_leave_on_interrupt = false`}}, func(c *Config) bool { return c.LeaveOnTerminate && !c.SkipLeaveOnInterrupt }},
		"a server has gRPC with TLS": {Source{HCL: []string{`server = true`}}, func(c *Config) bool { return c.Ports.GRPCTLS == 8503 && c.Ports.GRPC == -1 }},
		"an agent has not":           {Source{}, func(c *Config) bool { return c.Ports.GRPCTLS == -1 }},
		"dev mode": {Source{Dev: true}, func(c *Config) bool {
			return c.Dev && c.Server && c.BindAddr == "127.0.0.1" && c.Ports.GRPC == 8502 && c.UI.Enabled && c.LogLevel == "DEBUG" && c.Validate() == nil
		}},
		"files win over dev mode":        {Source{Dev: true, HCL: []string{`log_level = "warn"`}}, func(c *Config) bool { return c.LogLevel == "warn" }},
		"script checks include local":    {Source{HCL: []string{`enable_script_checks = true`}}, func(c *Config) bool { return c.EnableLocalScriptChecks }},
		"domains get their dot":          {Source{HCL: []string{`domain = "a.example" alt_domain = "b."`}}, func(c *Config) bool { return c.Domain == "a.example." && c.AltDomain == "b." }},
		"the host's name":                {Source{}, func(c *Config) bool { h, _ := os.Hostname(); return c.NodeName == h }},
		"a content path has two slashes": {Source{HCL: []string{`ui_config { content_path = "x/y" }`}}, func(c *Config) bool { return c.UI.ContentPath == "/x/y/" }},
		"the root is a content path":     {Source{HCL: []string{`ui_config { content_path = "/" }`}}, func(c *Config) bool { return c.UI.ContentPath == "/" }},
		"TLS defaults are inherited": {Source{HCL: []string{`tls { defaults { ca_file = "a" verify_incoming = true } https { verify_incoming = false } grpc { ca_file = "b" } }`}}, func(c *Config) bool {
			return c.TLS.HTTPS.CAFile == "a" && !c.TLS.HTTPS.VerifyIncoming && c.TLS.GRPC.CAFile == "b" && c.TLS.GRPC.VerifyIncoming && c.TLS.InternalRPC.CAFile == "a"
		}},
		"a template is an address": {Source{HCL: []string{`bind_addr = "{{ GetAllInterfaces | include \"flags\" \"loopback\" | include \"type\" \"IPv4\" | limit 1 | attr \"address\" }}" client_addr = "127.0.0.1 {{ GetAllInterfaces | include \"flags\" \"loopback\" | include \"type\" \"IPv4\" | limit 1 | attr \"address\" }}"`}}, func(c *Config) bool {
			return c.BindAddr == "127.0.0.1" && c.ClientAddr == "127.0.0.1 127.0.0.1"
		}},
		"null is as if not there": {Source{HCL: []string{`{"node_name": null, "ports": null, "services": null}`}}, func(c *Config) bool { return c.Ports == Default().Ports && !c.IsSet("node_name") }},
		"heredocs and comments":   {Source{HCL: []string{"# one\n// two\n/* three */\nnode_name = <<EOF\nx\nEOF\n"}}, func(c *Config) bool { return c.NodeName == "x\n" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if c := load(t, tt.src); !tt.good(c) {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	tests := map[string]struct {
		src  Source
		want string
	}{
		"a missing file":       {Source{Files: []string{"testdata/none.hcl"}}, "configuration file: stat testdata/none.hcl"},
		"a missing folder":     {Source{Dirs: []string{"testdata/none"}}, "configuration folder: open testdata/none"},
		"broken JSON":          {Source{HCL: []string{"{\n\"a\": 1,\n}"}}, "hcl fragment 1:"},
		"cut JSON":             {Source{HCL: []string{`{"a": `}}, "unexpected EOF"},
		"two objects":          {Source{HCL: []string{`{} {}`}}, "there is more after the end"},
		"broken HCL":           {Source{HCL: []string{"node_name = \"a\"\nlog_level = # cut\n"}}, "hcl fragment 1:2: the value after = is missing"},
		"deep JSON":            {Source{HCL: []string{strings.Repeat(`{"a":`, 200)}}, errDepth.Error()},
		"deep HCL":             {Source{HCL: []string{"a = " + strings.Repeat("[", 5000)}}, errDepth.Error()},
		"an unknown flag":      {Source{Flags: map[string]any{"ports.htp": 1}}, "unknown key ports.htp; did you mean http?"},
		"a flag of wrong type": {Source{Flags: map[string]any{"ports.http": "x"}}, `ports.http: want a whole number, found the string "x"`},
		"a flag of no type":    {Source{Flags: map[string]any{"ports.http": 1i}}, "ports.http: a flag cannot be a complex128"},
		"an empty template":    {Source{HCL: []string{`bind_addr = "{{ GetInterfaceIP \"none\" }}"`}}, "bind_addr:"},
		"a broken template":    {Source{HCL: []string{`recursors = ["{{ Nothing }}"]`}}, "recursors[0]:"},
		"as the brief has it":  {Source{HCL: []string{"dns_config {\n servce_ttl { } }"}}, "unknown key dns_config.servce_ttl in hcl fragment 1:2; did you mean service_ttl?"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, _, err := Load(tt.src)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if c != nil {
				t.Error("there is a configuration beside the error")
			}
			var e *skerry.Error
			if !errors.As(err, &e) || e.Kind != skerry.Invalid {
				t.Errorf("the error is not of kind invalid: %#v", err)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	base := `data_dir = "/x" node_meta { a = "1" }`
	tests := []struct {
		change string
		want   []string
	}{
		{``, nil},
		{`log_level = "debug" recursors = ["192.0.2.1"] http_config { block_endpoints = ["/x"] } service { name = "a" }`, nil},
		{`dns_config { node_ttl = "1s" service_ttl { a = "1s" } soa { refresh = 1 } }`, nil},
		{`addresses { }`, nil},
		{`ports { http = 1 } node_name = "other" guard { share = 0.1 }`, []string{"guard.share", "node_name", "ports.http"}},
		{`node_meta { b = "2" } limits { http_max_conns_per_client = 3 }`, []string{"limits.http_max_conns_per_client", "node_meta"}},
	}
	for _, tt := range tests {
		a := load(t, Source{HCL: []string{base}})
		b := load(t, Source{HCL: []string{base, tt.change}})
		if got := a.Restart(b); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.change, got, tt.want)
		}
	}
	if got := load(t, Source{Dev: true}).Restart(load(t, Source{Dev: false})); got[0] != "bind_addr" || !strings.Contains(fmt.Sprint(got), " dev ") {
		t.Errorf("dev mode: got %v", got)
	}
}

func TestDurations(t *testing.T) {
	c := load(t, Source{HCL: []string{`max_query_time = "60s" default_query_time = "1m"`, `{"dns_config": {"node_ttl": "2s"}}`}})
	if c.MaxQueryTime != time.Minute || c.DefaultQueryTime != time.Minute || c.DNS.NodeTTL != 2*time.Second {
		t.Errorf("got %v %v %v", c.MaxQueryTime, c.DefaultQueryTime, c.DNS.NodeTTL)
	}
}

// A number is no duration, wherever it stands: it would be nanoseconds, and its author
// meant seconds. Consul refuses it too.
func TestNumbersAreNoDurations(t *testing.T) {
	const web = `{"service": {"name": "a", "check": {"tcp": "x:1", %s}}}`
	for fragment, want := range map[string]string{
		fmt.Sprintf(web, `"interval": 10`):                                                   `services[0].checks[0].interval: want a duration with its unit, in quotes, such as "10s", found the number 10`,
		fmt.Sprintf(web, `"interval": "10"`):                                                 `interval: want a duration with its unit, such as "10s", found the string "10"`,
		fmt.Sprintf(web, `"interval": "5s", "timeout": 1.5`):                                 `timeout: want a duration with its unit, in quotes, such as "1.5s"`,
		fmt.Sprintf(web, `"interval": "5s", "ttl": 0`):                                       `ttl: want a duration with its unit, in quotes, such as "0s"`,
		`service { name = "a" check { ttl = 30 } }`:                                          `ttl: want a duration with its unit, in quotes, such as "30s"`,
		`checks = [{ name = "a" http = "x" interval = 10 }]`:                                 `checks[0].interval: want`,
		`service { name = "a" check { ttl = "5s" deregister_critical_service_after = 90 } }`: `deregister_critical_service_after: want`,
		`session_ttl_min = 120000000000`:                                                     `session_ttl_min: want a duration with its unit, in quotes, such as "2m0s"`,
		`max_query_time = 60`:                                                                `max_query_time: want a duration with its unit, in quotes, such as "60s"`,
		`dns_config { service_ttl { "*" = 5 } node_ttl = 10 }`:                               `dns_config.service_ttl.*: want`,
		`lease { max_ttl = 10 }`:                                                             `lease.max_ttl: want`,
		`watches = [{ type = "services" handler_type = "http" http_handler_config { path = "http://x" timeout = 10 } }]`: `watches[0].http_handler_config.timeout: want`,
	} {
		_, _, err := Load(Source{HCL: []string{fragment}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", fragment, err, want)
		}
	}
	for _, k := range Keys() {
		if k.Type != "duration" {
			continue
		}
		v := "10"
		for _, part := range slices.Backward(strings.Split(k.Path, ".")) {
			v = fmt.Sprintf("{%q: %s}", part, v)
		}
		if _, _, err := Load(Source{HCL: []string{v}}); err == nil || !strings.Contains(err.Error(), k.Path+`: want a duration with its unit, in quotes, such as "10s"`) {
			t.Errorf("%s: %v", v, err)
		}
	}
	_, _, err := ParseServiceFile("web.json", []byte(`{"Name": "web", "Port": 80, "Check": {"HTTP": "http://x", "Interval": 10}}`), false)
	if err == nil || !strings.Contains(err.Error(), `such as "10s"`) {
		t.Errorf("a service file: %v", err)
	}
}

// Old Consul's script is refused in the words of the API, and taken where the API
// takes it, also by files that stand before the one that allows it.
func TestLegacyScript(t *testing.T) {
	const check = `check { name = "a" script = "exit 1" interval = "5s" }`
	const refusal = `script (old Consul's form; set legacy_api = true to allow it, or use args)`
	if _, _, err := Load(Source{HCL: []string{check}}); err == nil || !strings.Contains(err.Error(), "unknown key checks[0]."+refusal) {
		t.Errorf("%v", err)
	}
	if _, _, err := ParseServiceFile("x.hcl", []byte(`service { name = "a" `+check+` }`), false); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("a service file: %v", err)
	}
	want := []string{"/bin/sh", "-c", "exit 1"}
	for name, src := range map[string]Source{
		"before": {HCL: []string{"legacy_api = true", check}}, "after": {HCL: []string{check, "LegacyAPI = true"}},
		"by a flag": {HCL: []string{check}, Flags: map[string]any{"legacy_api": true}},
	} {
		if c := load(t, src); !slices.Equal(c.Checks[0].Args, want) {
			t.Errorf("%s: %q", name, c.Checks[0].Args)
		}
	}
	if _, checks, err := ParseServiceFile("x.hcl", []byte(check), true); err != nil || !slices.Equal(checks[0].Args, want) {
		t.Errorf("a service file: %v", err)
	}
	if _, _, err := Load(Source{HCL: []string{check, "legacy_api = true"}, Flags: map[string]any{"legacy_api": false}}); err == nil {
		t.Error("the flag does not win")
	}
}

// A check with both says which to keep.
func TestIntervalAndTTL(t *testing.T) {
	for check, want := range map[string]string{
		`ttl = "5s" interval = "5s"`:              "keep ttl where the service itself reports, or interval and something to run",
		`ttl = "5s" interval = "5s" http = "x:1"`: "keep interval, by which the agent runs http, or keep ttl alone",
		`ttl = "5s" tcp = "x:1"`:                  "keep ttl alone if the service itself reports, or tcp with an interval",
	} {
		if _, _, err := Load(Source{HCL: []string{"service { name = \"a\" check { " + check + " } }"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", check, err)
		}
	}
}
