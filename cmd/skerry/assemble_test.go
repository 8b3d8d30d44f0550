package main

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/lease"
	"github.com/skerryhq/skerry/logstream"
	"github.com/skerryhq/skerry/node"
)

// assembled returns what a fragment of configuration makes of the parts.
func assembled(t *testing.T, fragment string) node.Config {
	t.Helper()
	c, _, err := load(config.Source{Dev: true, HCL: []string{fragment}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := nodeConfig(c, logstream.New(slog.DiscardHandler), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGuardAndLease(t *testing.T) {
	got := assembled(t, `guard { share = 0.25, least = 7, window = "1m", hold = "2m" }
lease { min_ttl = "3s", max_ttl = "4m", max_owners = 5, max_instances = 6 }`)
	if want := (catalog.Guard{Share: 0.25, Least: 7, Window: time.Minute, Hold: 2 * time.Minute}); got.Guard != want {
		t.Errorf("guard %+v, want %+v", got.Guard, want)
	}
	if want := (lease.Limits{MinTTL: 3 * time.Second, MaxTTL: 4 * time.Minute, MaxOwners: 5, MaxInstances: 6}); got.Leases != want {
		t.Errorf("lease %+v, want %+v", got.Leases, want)
	}
}

func TestTLSOfHTTPS(t *testing.T) {
	got := assembled(t, `tls {
  defaults { ca_path = "/ca", cert_file = "c", key_file = "k", tls_min_version = "TLSv1_3" }
  https { tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", verify_incoming = true }
}`).Door.TLS
	want := door.TLS{
		CAPath: "/ca", CertFile: "c", KeyFile: "k", MinVersion: "TLSv1_3",
		CipherSuites: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", VerifyIncoming: true,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestDevModeWarnsOfNothing(t *testing.T) {
	if _, warnings, err := load(config.Source{Dev: true}); err != nil || len(warnings) > 0 {
		t.Errorf("%v, %v", warnings, err)
	}
}

func TestShownMetricsAndReadModes(t *testing.T) {
	got := assembled(t, `telemetry { prefix_filter = ["+a", "-b"], filter_default = false }
http_config { use_cache = false, discovery_max_stale = "1s" }`)
	if s := got.Shown; !slices.Equal(s.Rules, []string{"+a", "-b"}) || !s.HideOthers {
		t.Errorf("metrics %+v", s)
	}
	if !got.Consul.NoCache || !got.Consul.StaleDiscovery {
		t.Errorf("reads: no cache %v, stale %v", got.Consul.NoCache, got.Consul.StaleDiscovery)
	}
	if got := assembled(t, ``); got.Shown.HideOthers || got.Consul.NoCache || got.Consul.StaleDiscovery {
		t.Errorf("without configuration: %+v", got.Shown)
	}
}

// Hiding is the preset's alone: a policy that denies answers as Consul's does.
func TestStrictHides(t *testing.T) {
	for preset, hides := range map[string]bool{"": false, "open": false, "read-open": false, "strict": true} {
		if got := accessControl(&config.Config{ACL: config.ACL{Enabled: true, DefaultPolicy: "deny", Preset: preset}}); got.Hide != hides {
			t.Errorf("preset %q hides: %v", preset, got.Hide)
		}
	}
}

func TestHandshakeAndOutputs(t *testing.T) {
	if got := assembled(t, ``); got.Door.Handshake != 5*time.Second || got.CheckUpdateInterval != 250*time.Millisecond {
		t.Errorf("by default %v, %v", got.Door.Handshake, got.CheckUpdateInterval)
	}
	got := assembled(t, `limits { https_handshake_timeout = "3s" }
check_update_interval = "5m"`)
	if got.Door.Handshake != 3*time.Second || got.CheckUpdateInterval != 5*time.Minute {
		t.Errorf("%v, %v", got.Door.Handshake, got.CheckUpdateInterval)
	}
	if got := assembled(t, `check_update_interval = "0s"`); got.CheckUpdateInterval != 1 {
		t.Errorf("at once is %v", got.CheckUpdateInterval)
	}
}
