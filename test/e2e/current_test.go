package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
)

// told is what an answer says of its own age.
type told struct {
	reply
	contact int // milliseconds
	known   bool
	mode    string
}

func (a *agent) tells(path string) (told, error) {
	r, err := tryRequest(http.DefaultClient, "GET", "http://"+a.http+path, "")
	if err != nil {
		return told{}, err
	}
	contact, _ := strconv.Atoi(r.header.Get("X-Consul-LastContact"))
	return told{r, contact, r.header.Get("X-Consul-KnownLeader") == "true", r.header.Get("X-Consul-Effective-Consistency")}, nil
}

// awaitTold polls until an answer is as it should be.
func (a *agent) awaitTold(path string, is func(told) bool) (last told) {
	a.t.Helper()
	await(a.t, "answer to "+path, func() (err error) {
		if last, err = a.tells(path); err == nil && !is(last) {
			err = fmt.Errorf("%d contact %d, leader known %v, mode %q: %s", last.status, last.contact, last.known, last.mode, last.body)
		}
		return err
	})
	return last
}

// leaderOf returns the leader's place among servers, and the places of the others.
func leaderOf(all []*agent, at []string) (leader int, others []int) {
	leader = slices.Index(at, all[0].leads())
	for i := range all {
		if i != leader {
			others = append(others, i)
		}
	}
	return leader, others
}

// agree waits until all servers name the same leader, and the same servers as up.
func agree(t *testing.T, asked []*agent, of int, alive ...string) {
	t.Helper()
	awaitFor(t, 4*patience, fmt.Sprintf("all agree that of %d servers %v are up", of, alive), func() error {
		var leaders []string
		for _, a := range asked {
			one, err := a.servers(of, alive)
			if err != nil {
				return fmt.Errorf("%s: %w", a.http, err)
			}
			if !slices.Contains(leaders, one) {
				leaders = append(leaders, one)
			}
		}
		if len(leaders) != 1 {
			return fmt.Errorf("leaders: %v", leaders)
		}
		return nil
	})
}

// servers compares what a server's endpoints say of the servers, and returns the leader.
func (a *agent) servers(of int, alive []string) (leader string, err error) {
	c := a.asker()
	if leader, err = c.Status().Leader(); err != nil {
		return "", err
	}
	peers, err := c.Status().Peers()
	if err != nil || len(peers) != of || !slices.Contains(peers, leader) {
		return "", fmt.Errorf("leader %q, peers %v, %v", leader, peers, err)
	}
	members, err := c.Agent().Members(false)
	if err != nil {
		return "", err
	}
	var up []string
	for _, m := range members {
		if m.Status == 1 {
			up = append(up, m.Name)
		}
	}
	if len(members) != of || !slices.Equal(up, alive) {
		return "", fmt.Errorf("%d members, up: %v", len(members), up)
	}
	raft, err := c.Operator().RaftGetConfiguration(nil)
	if err != nil {
		return "", err
	}
	voters, leads := 0, ""
	for _, s := range raft.Servers {
		if s.Voter {
			voters++
		}
		if s.Leader {
			leads += s.Address
		}
	}
	if len(raft.Servers) != of || voters != of || leads != leader {
		return "", fmt.Errorf("%d servers, %d voters, %s leads; the leader is %s", len(raft.Servers), voters, leads, leader)
	}
	health, err := c.Operator().AutopilotServerHealth(nil)
	if err != nil {
		return "", err
	}
	if want := len(alive) == of; health.Healthy != want || len(health.Servers) != of || health.FailureTolerance != max(len(alive)-of/2-1, 0) {
		return "", fmt.Errorf("healthy %v, tolerance %d, %d servers", health.Healthy, health.FailureTolerance, len(health.Servers))
	}
	for _, s := range health.Servers {
		if up := slices.Contains(alive, s.Name); s.Healthy != up || !up && s.LastContact.Duration() == 0 || s.Leader && s.LastContact.Duration() != 0 {
			return "", fmt.Errorf("%s: healthy %v, last contact %v, leads %v", s.Name, s.Healthy, s.LastContact, s.Leader)
		}
	}
	return leader, nil
}

// A server answers ?consistent with what others acknowledged before, wherever they did.
func TestConsistentReadsSeeWhatOthersAcknowledged(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	agree(t, all, 3, "s1", "s2", "s3")
	for n := range 60 {
		from, to := all[n%3], all[(n+1+n/3%2)%3]
		value := strconv.Itoa(n)
		from.ok("PUT", "/v1/kv/x", value)
		for _, mode := range []string{"?raw", "?raw&consistent"} {
			if got := to.ok("GET", "/v1/kv/x"+mode, ""); got.body != value {
				t.Fatalf("after %s was written, %s has %s", value, mode, got.body)
			}
		}
		from.register(`{"ID": "i` + value + `", "Name": "web", "Port": 80}`)
		if got, err := to.tells("/v1/catalog/service/web?consistent"); err != nil || got.mode != "consistent" || !strings.Contains(got.body, `"i`+value+`"`) {
			t.Fatalf("after i%s was registered: %v %+v", value, err, got)
		}
	}
	for _, a := range all {
		for path, want := range map[string]string{
			"/v1/kv/x": "", "/v1/kv/x?consistent": "", "/v1/query": "leader", "/v1/query?consistent": "consistent",
			"/v1/catalog/nodes": "leader", "/v1/catalog/nodes?stale": "stale", "/v1/catalog/nodes?consistent": "consistent",
		} {
			a.awaitTold(path, func(g told) bool { return g.status == 200 && g.known && g.contact == 0 && g.mode == want })
		}
		for _, path := range []string{"/v1/query?stale", "/v1/query?max_stale=1h", "/v1/catalog/nodes?max_stale=1h"} {
			a.awaitTold(path, func(g told) bool { return g.status == 200 && g.known && g.mode == "stale" })
		}
	}
}

// While the leader is stopped, and when it wakes, each answer says how old it may be.
func TestAStoppedLeaderWakesAndSaysSo(t *testing.T) {
	t.Parallel()
	all, at := servers(t, 3)
	agree(t, all, 3, "s1", "s2", "s3")
	old, others := leaderOf(all, at)
	all[old].ok("PUT", "/v1/kv/x", "before")
	all[old].awaitTold("/v1/kv/x?raw&stale", func(g told) bool { return g.body == "before" })
	all[old].signal(syscall.SIGSTOP)
	defer all[old].signal(syscall.SIGCONT)
	rest := []*agent{all[others[0]], all[others[1]]}
	for _, a := range rest {
		a.awaitTold("/v1/status/leader", func(g told) bool { return g.body != `""` && !strings.Contains(g.body, at[old]) })
	}
	names := []string{fmt.Sprint("s", others[0]+1), fmt.Sprint("s", others[1]+1)}
	agree(t, rest, 3, names...)
	rest[0].ok("PUT", "/v1/kv/x", "after")
	rest[0].register(`{"ID": "late", "Name": "late", "Port": 80}`)
	for _, a := range rest { // the services of the stopped server leave, and it is a server still
		a.finds("consul", "consul", "consul")
	}
	agree(t, rest, 3, names...)

	// These come to a server that does not know yet that it slept.
	paths := []string{"/v1/kv/x?raw&stale", "/v1/kv/x?raw", "/v1/kv/x?raw&consistent", "/v1/catalog/service/late", "/v1/catalog/service/late?consistent"}
	answers := make([]chan told, len(paths))
	for i, path := range paths {
		answers[i] = make(chan told, 1)
		go func() {
			got, err := all[old].tells(path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			answers[i] <- got
		}()
	}
	all[old].signal(syscall.SIGCONT)
	for i, path := range paths {
		got := <-answers[i]
		current := got.status != 200 || strings.Contains(got.body, "after") || strings.Contains(got.body, "late")
		confessed := strings.Contains(path, "stale") || strings.Contains(path, "catalog") && got.mode == "stale"
		confessed = confessed && got.contact >= 1000 && !strings.Contains(path, "consistent")
		if !current && !confessed {
			t.Errorf("%s at a server that woke: %d %s, contact %d, leader known %v, mode %s", path, got.status, got.body, got.contact, got.known, got.mode)
		}
		t.Logf("%s: %d %q, contact %d, known %v, mode %s", path, got.status, got.body[:min(60, len(got.body))], got.contact, got.known, got.mode)
	}
	agree(t, all, 3, "s1", "s2", "s3")
	all[old].awaitTold("/v1/catalog/service/late", func(g told) bool { return strings.Contains(g.body, "late") && g.contact == 0 && g.known })
}

// A server that is alone of three answers from what it has, says how old that is, and
// refuses to be consistent in Consul's words.
func TestAServerWithoutAMajorityTellsIt(t *testing.T) {
	t.Parallel()
	all, at := servers(t, 3)
	agree(t, all, 3, "s1", "s2", "s3")
	all[0].ok("PUT", "/v1/kv/x", "v")
	all[0].register(`{"ID": "w", "Name": "web", "Port": 80}`)
	for _, a := range all {
		a.finds("web", "w")
	}
	leader, others := leaderOf(all, at)
	for _, alone := range []int{leader, others[0]} { // the one is a leader without followers
		for i, a := range all {
			if i != alone {
				a.signal(syscall.SIGSTOP)
			}
		}
		a := all[alone]
		first := a.awaitTold("/v1/kv/x?raw&stale", func(g told) bool { return g.status == 200 && g.body == "v" && !g.known && g.contact > 1000 })
		a.awaitTold("/v1/kv/x?raw&stale", func(g told) bool { return g.contact > first.contact+1000 })
		a.awaitTold("/v1/query?max_stale=1h", func(g told) bool { return g.status == 200 && g.mode == "stale" && g.contact > 1000 })
		a.awaitTold("/v1/catalog/service/web", func(g told) bool { return g.status == 200 && !g.known && g.contact > 1000 && g.mode == "stale" })
		var asked sync.WaitGroup // each waits for a majority for seconds
		for _, path := range []string{"/v1/kv/x?consistent", "/v1/kv/x", "/v1/kv/x?max_stale=100ms", "/v1/catalog/service/web?consistent", "/v1/health/service/web?consistent"} {
			asked.Go(func() {
				if got, err := a.tells(path); err != nil || got.status != http.StatusInternalServerError || !strings.HasPrefix(got.body, "No cluster leader") || got.known {
					t.Errorf("%s without a majority: %v %d %s %v", path, err, got.status, got.body, got.header)
				}
			})
		}
		asked.Wait()
		if got := a.ok("GET", "/v1/status/leader", ""); got.body != `""` {
			t.Errorf("without a majority the leader is %s", got.body)
		}
		raft, err := a.client().Operator().RaftGetConfiguration(nil)
		if err != nil || len(raft.Servers) != 3 || slices.ContainsFunc(raft.Servers, func(s *api.RaftServer) bool { return s.Leader }) {
			t.Errorf("without a majority the servers are %+v, %v", raft, err)
		}
		a.finds("web", "w")
		for i, a := range all {
			if i != alone {
				a.signal(syscall.SIGCONT)
			}
		}
		agree(t, all, 3, "s1", "s2", "s3")
		for _, a := range all {
			a.finds("web", "w")
			a.awaitTold("/v1/catalog/service/web", func(g told) bool { return g.known && g.contact == 0 && g.mode == "leader" })
		}
	}
}

// A server that starts while another is down knows it: by its member of the quorum store.
func TestADeadServerIsAMemberUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	agree(t, all, 3, "s1", "s2", "s3")
	all[2].kill()
	all[1].kill()
	all[1].run()
	agree(t, all[:2], 3, "s1", "s2")
	for _, a := range all[:2] {
		a.finds("consul", "consul", "consul")
	}
	agree(t, all[:2], 3, "s1", "s2")
	c := all[1].client()
	raft, err := c.Operator().RaftGetConfiguration(nil)
	if err != nil {
		t.Fatal(err)
	}
	dead := slices.IndexFunc(raft.Servers, func(s *api.RaftServer) bool { return s.Node == "s3" })
	if err := c.Operator().RaftRemovePeerByAddress(raft.Servers[dead].Address, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "two servers are left", func() error {
		if members, err := c.Agent().Members(false); err != nil || len(members) != 2 {
			return errors.Join(err, fmt.Errorf("%d members", len(members)))
		}
		return nil
	})
}
