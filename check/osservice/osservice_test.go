package osservice

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

func probe(t *testing.T, systemctl, unit string) check.Result {
	t.Helper()
	p, err := Kind(systemctl).New(&skerry.CheckDefinition{OSService: unit, OutputMaxSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return p.Check(t.Context())
}

// TestStates runs a program that answers as systemctl does, by the unit's name.
func TestStates(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "systemctl")
	script := `#!/bin/sh
[ "$1 $2" = "is-active --" ] || { echo "called with $*" >&2; exit 9; }
case $3 in
silent) exit 3;;
broken) echo "Failed to connect to bus" >&2; exit 1;;
active) echo active;;
*) echo "$3"; exit 3;;
esac`
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]check.Result{
		"active":     {Status: skerry.Passing, Output: "Service active is active"},
		"inactive":   {Status: skerry.Critical, Output: "Service inactive is inactive"},
		"failed":     {Status: skerry.Critical, Output: "Service failed is failed"},
		"activating": {Status: skerry.Warning, Output: "Service activating is activating"},
		"odd":        {Status: skerry.Warning, Output: `The state of service odd is not known: systemctl said "odd"`},
		"silent":     {Status: skerry.Warning, Output: "The state of service silent is not known: exit status 3"},
		"broken":     {Status: skerry.Warning, Output: "The state of service broken is not known: Failed to connect to bus"},
	}
	for unit, want := range tests {
		if got := probe(t, fake, unit); got != want {
			t.Errorf("%s: %q, want %q", unit, got, want)
		}
	}
}

func TestNoSystemctl(t *testing.T) {
	r := probe(t, filepath.Join(t.TempDir(), "none"), "web")
	if r.Status != skerry.Warning || !strings.Contains(r.Output, "not known") || !strings.Contains(r.Output, "no such file") {
		t.Errorf("%q", r)
	}
}

func TestThisHost(t *testing.T) {
	if _, err := exec.LookPath("systemctl"); err != nil {
		t.Skip("no systemctl on the PATH")
	}
	r := probe(t, "", "no-such-unit-of-skerry")
	want := skerry.Critical
	if _, err := os.Stat("/run/systemd/private"); err != nil {
		want = skerry.Warning // installed, but it does not run this host
	}
	if r.Status != want {
		t.Errorf("%q, want %s", r, want)
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{"active", "inactive", "", "active\nfailed"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, state string) {
		r := judge("web", state, "why")
		if (r.Status == skerry.Passing) != (state == "active") || !r.Status.Valid() {
			t.Errorf("%q: %v", state, r)
		}
	})
}
