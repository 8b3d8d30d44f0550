package conformance

import (
	"os"
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

// standIn returns the path of a program that acts in a role: see its package.
func standIn(t *testing.T, role string) string {
	t.Helper()
	t.Setenv(program.EnvBinary, program.Skerry(t))
	t.Setenv("SKERRY_STANDIN", role)
	return program.Build(t, ".", "./test/conformance/standin")
}

// A follower of three servers gives the recorded answers that a single server gives, but for
// the differences that are due to there being three.
func TestTranscriptsAtAFollower(t *testing.T) {
	program.Need(t, "python3", "dig")
	replayAmong(t, "follower", os.Getenv(envAll) != "", sample, clusterFile)
}

// replayAmong replays a sample of the scenarios, or all of them, at a process among others.
func replayAmong(t *testing.T, role string, all bool, names []string, file string) {
	t.Helper()
	args := []string{"--patience", "120", "--others", "node-1-of-three-", "--workers", "2"}
	if all {
		names = replayed
	} else {
		args = append(args, "--only", strings.Join(names, ","))
	}
	known := slices.Concat(readKnown(t, knownFile).Differences, readKnown(t, file).Differences)
	judgeAll(t, replay(t, standIn(t, role), args...), names, known)
}

// The client's own tests about the servers hold at a follower too. Those that want exactly
// one server (TestAPI_OperatorRaftGetConfiguration, …AutopilotServerHealth, …AgentMembers)
// are repeated for three by test/e2e; those that start others beside a single server need one
// that grows.
func TestClientsOwnTestsAtAFollower(t *testing.T) {
	program.Need(t, "bash", "go")
	const about = "TestAPI_OperatorAutopilotState|TestAPI_Agent(Self|Join|ForceLeave.*)|TestAPI_Status.*"
	c := clientTests(t, standIn(t, "follower"), about)
	if len(c.failed) > 0 || !slices.Contains(c.passed, "TestAPI_OperatorAutopilotState") {
		t.Error(c.text)
	}
}
