package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// Each node of Patroni speaks to the agent of its host. The server of the primary's agent is killed: the leader key
// is kept, and the primary goes on for longer than the key's TTL. A switchover through the agents then is as ever.
func TestPatroniAtAgentsKeepsItsPrimary(t *testing.T) {
	t.Parallel()
	program.Need(t, "curl")
	p := newPatroni(t)
	servers, agents := p.atAgents()
	p.node("a")
	p.accepts("a", 0)
	p.node("b")
	p.streams("b")
	session := p.leaderSession("a")
	if got := p.nodeOf("b", session); got != "a" {
		t.Errorf("the session of the primary is bound to the node %q, want its agent's, a", got)
	}

	times, home := agents["a"].homes()
	p.step(fmt.Sprintf("kill -9 of s%d, the server of the primary's agent", home+1))
	servers[home].kill()
	awaitFor(t, failover, "the agent moves", func() error {
		if n, now := agents["a"].homes(); n == times || now == home {
			return fmt.Errorf("attached %d times, to s%d last", n, now+1)
		}
		return nil
	})
	killed, before := time.Now(), p.accepted("a")
	awaitFor(t, failover, "the primary accepts writes for longer than its key lives", func() error {
		if passed := time.Since(killed); passed < keyLives+5*time.Second {
			return fmt.Errorf("%v have passed", passed)
		}
		return nil
	})
	p.accepts("a", before+100)
	if got := p.accepted("b"); got != 0 {
		t.Errorf("b accepted %d writes: the death of a server made it the primary", got)
	}
	if now := p.leaderSession("b"); now != session {
		t.Errorf("the leader key is held by the session %s, and was by %s before the server died", now, session)
	}

	p.step("switchover to b")
	p.ctl("switchover", "--leader", "a", "--candidate", "b", "--force", "batman")
	p.accepts("b", 0)
	p.streams("a")
	p.judge(1)
}

// keyLives is the TTL of the leader key, by Patroni's configuration.
const keyLives = 30 * time.Second

// atAgents starts three servers on the registry's host, and an agent on each node's.
func (p *patroni) atAgents() (servers []*agent, agents map[string]*agent) {
	p.t.Helper()
	ports, at := make([]int, 3), []string{}
	for i := range ports {
		ports[i] = program.Port(p.t)
		at = append(at, net.JoinHostPort(hosts["r"], fmt.Sprint(ports[i])))
	}
	open := map[string]any{"insecure_cluster": true}
	for i, port := range ports {
		config := server(i+1, len(ports), port, at)
		maps.Copy(config, open)
		config["bind_addr"], config["client_addr"] = hosts["r"], hosts["r"]
		servers = append(servers, startIn(p.t, p.in("r"), config))
	}
	agents, p.agent = map[string]*agent{}, map[string]string{}
	for _, node := range []string{"a", "b"} {
		config := map[string]any{"node_name": node, "server": false, "bootstrap_expect": 0, "retry_join": at, "bind_addr": hosts[node]}
		maps.Copy(config, open)
		a := startIn(p.t, p.in(node), config)
		agents[node], p.agent[node] = a, a.http
		awaitFor(p.t, failover, "the agent on "+node+" is attached", func() error {
			_, err := p.curl(node, "/v1/status/ready")
			return err
		})
	}
	return servers, agents
}

// curl asks the registry of a node, from its host.
func (p *patroni) curl(node, path string) (string, error) {
	line := append(p.in(node), "curl", "-sS", "--fail", "--max-time", "10", "http://"+p.agent[node]+path)
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", path, err, out)
	}
	return string(out), err
}

// one has a node's registry list one record, and decodes it.
func (p *patroni) one(node, path string, record any) {
	p.t.Helper()
	awaitFor(p.t, failover, path, func() error {
		out, err := p.curl(node, path)
		if err != nil {
			return err
		}
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
			return fmt.Errorf("%w in %s", err, out)
		}
		return json.Unmarshal(list[0], record)
	})
}

// leaderSession returns the session that holds the leader key, by the agent of a node.
func (p *patroni) leaderSession(node string) string {
	p.t.Helper()
	var key struct{ Session string }
	p.one(node, "/v1/kv/service/batman/leader", &key)
	return key.Session
}

// nodeOf returns the node that a session is bound to, by the agent of a node.
func (p *patroni) nodeOf(node, session string) string {
	p.t.Helper()
	var info struct{ Node string }
	p.one(node, "/v1/session/info/"+session, &info)
	return info.Node
}
