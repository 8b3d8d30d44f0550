package kinds

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

var table = check.Table(All(Env{}))

type def = skerry.CheckDefinition

func TestKindOf(t *testing.T) {
	tests := map[string]def{
		"http": {HTTP: "http://a"}, "tcp": {TCP: "a:1"}, "udp": {UDP: "a:1"}, "grpc": {GRPC: "a:1"},
		"h2ping": {H2PING: "a:1"}, "script": {Args: []string{"true"}}, "os_service": {OSService: "web"},
		"docker": {DockerContainerID: "c", Args: []string{"true"}}, "alias": {AliasService: "web"}, "ttl": {TTL: 1},
	}
	for want, d := range tests {
		if got, ok := table.KindOf(&d); !ok || got != want {
			t.Errorf("%s: %q, %v", want, got, ok)
		}
	}
	if len(tests) != len(table) {
		t.Errorf("%d kinds are tested of %d", len(tests), len(table))
	}
	if got, _ := table.KindOf(&def{HTTP: "http://a", TCP: "b:1", TTL: 1, AliasNode: "n"}); got != "http" {
		t.Errorf("of several targets %q counts, want the first in the table", got)
	}
	if _, ok := table.KindOf(&def{}); ok {
		t.Error("nothing is a kind")
	}
}

// The texts are those that a real Consul was seen to answer, where it was asked.
func TestValidate(t *testing.T) {
	const (
		needsInterval = "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
		needsTTL      = "TTL must be > 0 for TTL checks"
		remote        = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
		local         = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true"
	)
	args := []string{"true"}
	tests := []struct {
		d    def
		p    check.Policy
		kind skerry.Kind
		want string // "": valid
	}{
		{def{}, check.Policy{}, skerry.Invalid, needsTTL},
		{def{TTL: -1}, check.Policy{}, skerry.Invalid, needsTTL},
		{def{TTL: 10}, check.Policy{}, 0, ""},
		{def{TTL: 10 * time.Second, Interval: 10 * time.Second, HTTP: "http://a"}, check.Policy{}, skerry.Invalid, "Interval and TTL cannot both be specified"},
		{def{HTTP: "http://a"}, check.Policy{}, skerry.Invalid, needsInterval},
		{def{TCP: "a:1"}, check.Policy{}, skerry.Invalid, needsInterval},
		{def{GRPC: "a:1", TTL: time.Second}, check.Policy{}, skerry.Invalid, needsInterval},
		{def{HTTP: "http://a", TCP: "b:1", Interval: time.Second}, check.Policy{}, 0, ""},
		{def{HTTP: "http://a", Interval: 1}, check.Policy{}, 0, ""},
		{def{AliasService: "none"}, check.Policy{}, 0, ""},
		{def{TTL: time.Minute, OutputMaxSize: -1}, check.Policy{}, skerry.Invalid, "MaxOutputMaxSize must be positive"},
		{def{TTL: time.Minute, FailuresBeforeWarning: 3, FailuresBeforeCritical: 2}, check.Policy{}, skerry.Invalid, "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"},
		{def{TTL: time.Minute, FailuresBeforeWarning: 1}, check.Policy{}, 0, ""},
		{def{Args: args}, check.Policy{}, skerry.Invalid, needsInterval},
		{def{Args: args, Interval: time.Second}, check.Policy{}, skerry.Denied, remote},
		{def{Args: args, Interval: time.Second}, check.Policy{Local: true}, skerry.Denied, local},
		{def{Args: args, Interval: time.Second}, check.Policy{AllowScripts: true}, 0, ""},
		{def{Args: args, DockerContainerID: "c", Interval: time.Second}, check.Policy{}, skerry.Denied, remote},
		{def{Args: args, DockerContainerID: "c", Interval: time.Second, HTTP: "http://a"}, check.Policy{}, 0, ""}, // HTTP counts: nothing is run
		{def{DockerContainerID: "c", Interval: time.Second}, check.Policy{AllowScripts: true}, skerry.Invalid, "Args must be set for Docker checks"},
	}
	for _, tt := range tests {
		err := table.Validate(&tt.d, tt.p)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%+v: %v", tt.d, err)
		case tt.want != "" && (err == nil || err.Error() != tt.want || skerry.KindOf(err) != tt.kind):
			t.Errorf("%+v: %v, want %s (%v)", tt.d, err, tt.want, tt.kind)
		}
	}
}

func TestClamped(t *testing.T) {
	tests := []struct {
		d, want def
		output  int
	}{
		{def{HTTP: "a", Interval: 1}, def{HTTP: "a", Interval: time.Second, Timeout: 10 * time.Second, OutputMaxSize: 4096}, 0},
		{def{Args: []string{}, UDP: "a", Interval: time.Hour, Timeout: time.Second, OutputMaxSize: 5000}, def{Args: []string{}, UDP: "a", Interval: time.Hour, Timeout: time.Second, OutputMaxSize: 100}, 100},
		{def{TTL: 1, OutputMaxSize: 10, DeregisterCriticalServiceAfter: time.Second}, def{TTL: 1, OutputMaxSize: 10, DeregisterCriticalServiceAfter: time.Minute}, 0},
		{def{AliasNode: "a", DeregisterCriticalServiceAfter: time.Hour}, def{AliasNode: "a", OutputMaxSize: 4096, DeregisterCriticalServiceAfter: time.Hour}, 0},
	}
	for _, tt := range tests {
		got := table.Clamped(&tt.d, tt.output)
		if got.Interval != tt.want.Interval || got.Timeout != tt.want.Timeout || got.OutputMaxSize != tt.want.OutputMaxSize ||
			got.DeregisterCriticalServiceAfter != tt.want.DeregisterCriticalServiceAfter {
			t.Errorf("%+v became %+v", tt.d, got)
		}
	}
	if d := table.Clamped(&def{Args: []string{"true"}, Interval: 1}, 0); d.Timeout != 30*time.Second {
		t.Errorf("a script's timeout is %v by default, want 30s", d.Timeout)
	}
}

func TestAliasIsRefusedWithoutALookup(t *testing.T) {
	r := check.NewRunner(check.Config{Kinds: table, Report: func(string, check.Result) {}})
	defer r.Close()
	err := r.Start("a", &def{AliasService: "web"}, check.State{})
	if skerry.KindOf(err) != skerry.Unsupported {
		t.Errorf("%v", err)
	}
}
