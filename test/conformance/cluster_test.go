package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// envAll, when it is set, makes the tests of a follower replay all scenarios. CI replays a
// sample: each scenario starts three servers.
const envAll = "SKERRY_CONFORMANCE_CLUSTER"

// sample has a scenario of each kind of answer: the servers, the catalog, the store, access.
var sample = []string{"catalog-query", "kv-cas", "session", "status", "txn"}

// follower returns the path of a program that acts as a server which follows, of three.
func follower(t *testing.T) string {
	t.Helper()
	t.Setenv(program.EnvBinary, program.Skerry(t))
	return program.Build(t, ".", "./test/conformance/follower")
}

// A follower of three servers gives the recorded answers that a single server gives, but for
// the differences that are due to there being three.
func TestTranscriptsAtAFollower(t *testing.T) {
	program.Need(t, "python3", "dig")
	names, args := sample, []string{"--patience", "120", "--others", "node-1-of-three-", "--workers", "2"}
	if os.Getenv(envAll) != "" {
		names = replayed
	} else {
		args = append(args, "--only", strings.Join(names, ","))
	}
	known := slices.Concat(readKnown(t, knownFile).Differences, readKnown(t, clusterFile).Differences)
	judgeAll(t, replay(t, follower(t), args...), names, known)
}

// The client's own tests about the servers hold at a follower too. Those that want exactly
// one server (TestAPI_OperatorRaftGetConfiguration, …AutopilotServerHealth, …AgentMembers)
// are repeated for three by test/e2e; those that start others beside a single server need one
// that grows.
func TestClientsOwnTestsAtAFollower(t *testing.T) {
	program.Need(t, "bash", "go")
	const about = "TestAPI_OperatorAutopilotState|TestAPI_Agent(Self|Join|ForceLeave.*)|TestAPI_Status.*"
	out := t.TempDir()
	text := clientTests(t, follower(t), about, out)
	passed, err := os.ReadFile(filepath.Join(out, "passed"))
	if err != nil || !strings.Contains(text, ", 0 failed") || !strings.Contains(string(passed), "TestAPI_OperatorAutopilotState\n") {
		t.Errorf("%v\n%s", err, text)
	}
}
