// Package conformance holds the binary against what a real Consul does: the
// official Go client's own tests, and recorded answers.
package conformance

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

func TestMain(m *testing.M) { program.Main(m) }

// The tests that ship inside github.com/hashicorp/consul/api, run against us.
func TestClientsOwnTests(t *testing.T) {
	program.Need(t, "bash", "go")
	// The rest of class o needs several agents.
	const ofClassO = "TestAPI_OperatorUsage|TestAPI_Snapshot.*|TestAPI_Debug.*"
	for class, want := range map[string]string{"a": "138 passed, 0 failed", ofClassO: "7 passed, 0 failed"} {
		if out := clientTests(t, program.Skerry(t), class, t.TempDir()); !strings.Contains(out, want) {
			t.Errorf("class %s: want %q in\n%s", class, want, out)
		}
	}
}

// clientTests runs a class of the client's tests against a program, and returns what they
// say. Their logs go into the folder out.
func clientTests(t *testing.T, bin, class, out string) string {
	t.Helper()
	get := exec.Command("go", "mod", "download", "github.com/hashicorp/consul/api")
	get.Dir = "consul-api"
	if out, err := get.CombinedOutput(); err != nil {
		t.Skipf("the module of the official client is not to be had: %v\n%s", err, out)
	}
	run := exec.Command("./run.sh", bin, class)
	run.Dir = "consul-api"
	run.Env = append(run.Environ(), "OUT="+out)
	text, err := run.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	return string(text)
}
