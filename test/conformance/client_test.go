// Package conformance holds the binary against what a real Consul does: the
// official Go client's own tests, and recorded answers.
package conformance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
		if c := clientTests(t, program.Skerry(t), class); !strings.Contains(c.text, want) {
			t.Errorf("class %s: want %q in\n%s", class, want, c.text)
		}
	}
}

// clientRun is a run of a class of the client's tests.
type clientRun struct {
	text           string // what they say, with the number of those that passed and failed
	passed, failed []string
}

// clientTests runs a class of the client's tests against a program.
func clientTests(t *testing.T, bin, class string) clientRun {
	t.Helper()
	get := exec.Command("go", "mod", "download", "github.com/hashicorp/consul/api")
	get.Dir = "consul-api"
	if out, err := get.CombinedOutput(); err != nil {
		t.Skipf("the module of the official client is not to be had: %v\n%s", err, out)
	}
	out := t.TempDir()
	run := exec.Command("./run.sh", bin, class)
	run.Dir = "consul-api"
	run.Env = append(run.Environ(), "OUT="+out)
	text, err := run.CombinedOutput()
	c := clientRun{text: string(text)}
	for file, names := range map[string]*[]string{"passed": &c.passed, "failed": &c.failed} {
		list, readErr := os.ReadFile(filepath.Join(out, file))
		if readErr != nil {
			t.Fatalf("%v\n%s", errors.Join(err, readErr), text)
		}
		*names = strings.Fields(string(list))
	}
	return c
}
