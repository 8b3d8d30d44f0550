package conformance

import (
	"os"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// envAgent, when it is set, makes the tests of an agent replay all scenarios, and run all of the client's tests
// of class a. CI has a sample.
const envAgent = "SKERRY_CONFORMANCE_AGENT"

// agentSample has a scenario of each kind of answer: the agent's own, those from followed views, and those of servers.
var agentSample = []string{"agent-services", "catalog-register", "dns-basic", "health", "kv-cas", "session", "acl-denied"}

// An agent of three servers gives the recorded answers of a server, but for the differences that are due to its
// being none.
func TestTranscriptsAtAnAgent(t *testing.T) {
	program.Need(t, "python3", "dig")
	replayAmong(t, "agent", os.Getenv(envAgent) != "", agentSample, agentFile)
}

// notAtAnAgent are the client's tests that fail at an agent, each with the reason.
var notAtAnAgent = map[string]string{
	"TestAPI_ACLBootstrap":                  "wants one member: there are the agent and its server",
	"TestAPI_AgentMembers":                  "wants one member: there are the agent and its server",
	"TestAPI_CatalogNode":                   "wants the service consul on the node that is asked: servers have it",
	"TestAPI_CatalogNodeServiceList":        "wants the service consul on the node that is asked: servers have it",
	"TestAPI_CatalogNodes":                  "wants one node: there are the agent's and the server's",
	"TestAPI_CatalogNodes_Filter":           "wants one node: there are the agent's and the server's",
	"TestAPI_OperatorAutopilotServerHealth": "wants the process that is asked among the servers",
	"TestAPI_OperatorAutopilotState":        "wants the process that is asked among the servers",
}

// The client's own tests hold at an agent of one server too. Of class o there are missing: those that start more
// servers beside a server that is alone, those of gossip's keys and of other datacenters, and TestAPI_AgentLeave, which
// has an agent without servers join one by the API: here retry_join names them.
func TestClientsOwnTestsAtAnAgent(t *testing.T) {
	program.Need(t, "bash", "go")
	const ofClassO = "TestAPI_Operator(Usage|RaftGetConfiguration|Autopilot(GetSetConfiguration|CASConfiguration|ServerHealth|State))|TestAPI_Snapshot.*|TestAPI_Debug.*"
	classes := map[string]int{"TestAPI_(LockLockUnlock|ClientTxnWrite|CatalogRegistration|HealthService_SingleTag|AgentServices|AgentMembers)": 5}
	if os.Getenv(envAgent) != "" {
		classes = map[string]int{"a": 132, ofClassO: 10}
	}
	for class, want := range classes {
		c := clientTests(t, standIn(t, "agent-of-one"), class)
		for _, test := range c.failed {
			if notAtAnAgent[test] == "" {
				t.Errorf("%s failed at an agent", test)
			}
		}
		for _, test := range c.passed {
			if notAtAnAgent[test] != "" {
				t.Errorf("%s passes at an agent now: remove it from the list", test)
			}
		}
		if len(c.passed) != want {
			t.Errorf("class %s: %d passed, want %d", class, len(c.passed), want)
		}
		if t.Failed() {
			t.Log(c.text)
		}
	}
}
