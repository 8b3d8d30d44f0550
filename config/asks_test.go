package config

import (
	"path"
	"slices"
	"testing"
)

func TestWarningsOnlyOfWhatIsMissed(t *testing.T) {
	tests := map[string]struct {
		hcl  string
		want []string // the keys warned of
	}{
		"nothing written": {hcl: ``},
		"values that turn nothing on": {hcl: `server = true
bootstrap = true
bootstrap_expect = 0
datacenter = "dc1"
primary_datacenter = "dc1"
ports { grpc = -1, grpc_tls = -1 }
performance { raft_multiplier = 1, leave_drain_time = "1s" }
acl { enabled = false, default_policy = "deny", tokens { agent = "x" } }
connect { enabled = false }
peering { enabled = false }
segments = []
leave_on_terminate = true
skip_leave_on_interrupt = true
retry_interval = "1s"
raft_protocol = 3
ui_config { enabled = false }
limits { kv_max_value_size = 524288 }
translate_wan_addrs = false`},
		"what will not happen": {hcl: `server = true
bootstrap_expect = 3
ports { grpc = 8502, grpc_tls = 8503 }
acl { enabled = true, default_policy = "deny" }
connect { enabled = true }
retry_join = ["192.0.2.1"]
ui_config { enabled = true }
telemetry { statsd_address = "127.0.0.1:1" }
encrypt = "x"`, want: []string{
			"ports.grpc", "ports.grpc_tls", "connect",
			"ui_config.enabled", "telemetry.statsd_address", "encrypt",
		}},
		"an agent that joins": {hcl: `retry_join = ["192.0.2.1"]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, ws, err := Load(Source{HCL: []string{tt.hcl}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range ws {
				got = append(got, w.Key)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("warned of %v, want %v", got, tt.want)
			}
		})
	}
}

// A pattern that hides nothing is of a key that is in force now.
func TestQuietKeysAreLater(t *testing.T) {
	for _, pattern := range quiet {
		hidden := 0
		for _, k := range Keys() {
			if match, err := path.Match(pattern, k.Path); err != nil {
				t.Fatal(err)
			} else if match && k.Later {
				hidden++
			}
		}
		if hidden == 0 {
			t.Errorf("%s hides nothing", pattern)
		}
	}
}
