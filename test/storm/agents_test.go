//go:build linux

package storm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// agent is an agent on a host of its own. Its programs register at it and look services up at it.
type agent struct {
	*process
	host int // its number, after those of the servers
}

const (
	// pool is a service with some instances at each agent, which stay. brief has one at each that stays, and others
	// that come and go all the time.
	pool, brief = "pool", "brief"
	// inPool is how many instances of pool an agent has.
	inPool = 2
	// firstPort is that of the first instance at an agent. No two have the same, so that DNS tells them apart.
	firstPort = 10000
)

// followed are the services that are looked up at agents. The last one is of programs with leases.
var followed = []string{pool, brief, "shop"}

// newAgent prepares an agent on the host after the servers and the agents before it.
func newAgent(t testing.TB, l *lab, n, servers int, binary string) *agent {
	t.Helper()
	a := &agent{host: servers + n}
	a.process = newProcess(t, l.hosts[a.host], fmt.Sprint("a", n+1), t.TempDir(), binary)
	a.configure(map[string]any{"retry_join": l.addresses(servers)})
	return a
}

// process is the one on a host.
func (s *storm) process(host int) *process {
	if host < len(s.servers) {
		return s.servers[host].process
	}
	return s.agents[host-len(s.servers)].process
}

// processes are those of all hosts.
func (s *storm) processes() (out []*process) {
	for n := range len(s.servers) + len(s.agents) {
		out = append(out, s.process(n))
	}
	return out
}

// inhabit starts the programs at an agent: those that stay, those that come and go, and those that look services up.
func (s *storm) inhabit(a *agent) {
	for n := range inPool {
		s.register(s.ctx, a, pool, n)
	}
	s.register(s.ctx, a, brief, 0)
	for _, service := range followed {
		for _, ask := range []lookup{plain(), blocking(), s.resolved("tcp"), s.resolved("udp")} {
			s.work.Go(func() { s.look(a, service, ask) })
		}
	}
}

// resident is an instance at an agent.
type resident struct {
	agent       *agent
	id, service string
	port        int
	registered  bool      // the agent has acknowledged it
	ending      time.Time // when its withdrawal began; zero: it stays
	ended       bool      // the agent has acknowledged that
}

// register registers an instance at an agent.
func (s *storm) register(ctx context.Context, a *agent, service string, n int) *resident {
	s.mu.Lock()
	s.made++
	r := &resident{agent: a, id: fmt.Sprintf("%s-%s-%d", service, a.name(), n), service: service, port: firstPort + s.made}
	s.residents[r.id] = r
	s.mu.Unlock()
	s.record.lives(r.id, a.host)
	body := map[string]any{"ID": r.id, "Name": service, "Address": "10.1.0.1", "Port": r.port}
	if s.change(ctx, a, "/v1/agent/service/register", body) {
		s.mu.Lock()
		r.registered = true
		s.mu.Unlock()
		s.record.registered(r.id)
	}
	return r
}

// withdraw takes an instance out.
func (s *storm) withdraw(ctx context.Context, r *resident) {
	s.mu.Lock()
	r.ending = time.Now()
	s.mu.Unlock()
	s.record.ends(r.id, r.ending)
	if s.change(ctx, r.agent, "/v1/agent/service/deregister/"+r.id, nil) {
		s.mu.Lock()
		r.ended = true
		s.mu.Unlock()
	}
}

// changeWithin is how long a client waits for an agent to acknowledge a change.
const changeWithin = 10 * time.Second

// change makes a change at an agent again and again until it is acknowledged. Each attempt that fails is noted.
func (s *storm) change(ctx context.Context, a *agent, path string, body any) bool {
	for again := false; ctx.Err() == nil; again = true {
		began := time.Now()
		c, cancel := context.WithTimeout(ctx, changeWithin)
		_, err := a.exchange(c, "PUT", path, body, nil)
		cancel()
		if ctx.Err() != nil {
			return false
		}
		var refused *refusal
		if again && errors.As(err, &refused) && refused.status == http.StatusNotFound {
			err = nil // it was withdrawn by an attempt whose answer was lost
		}
		s.record.asked(call{a.host, "PUT " + path, began, time.Now(), err, false})
		if err == nil {
			return true
		}
		rest(ctx, 50*time.Millisecond)
	}
	return false
}

// mostBrief is how many instances that come and go an agent has at once.
const mostBrief = 4

// comeAndGo registers and withdraws short-lived instances at an agent. A change that has begun is ended after ctx.
func (s *storm) comeAndGo(ctx context.Context, a *agent) {
	var there []*resident
	for n := s.round * 1_000_000; ctx.Err() == nil; n++ {
		rest(ctx, rand.N(600*time.Millisecond))
		if ctx.Err() != nil {
			break
		}
		if len(there) > 0 && (len(there) == mostBrief || rand.IntN(2) == 0) {
			s.withdraw(s.ctx, there[0])
			there = there[1:]
		} else {
			there = append(there, s.register(s.ctx, a, brief, int(n)+1))
		}
	}
	for _, r := range there[:len(there)/2] { // the others stay, and have to be found
		s.withdraw(s.ctx, r)
	}
}

// announced returns the instances of agents that have to be shown, by id. The error is about one whose change the agent has
// not acknowledged yet.
func (s *storm) announced() (map[string]*resident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, r := range s.residents {
		if !r.registered || !r.ending.IsZero() && !r.ended {
			err = fmt.Errorf("%s has not acknowledged the last change of %s", r.agent.name(), r.id)
		}
	}
	out := maps.Clone(s.residents)
	maps.DeleteFunc(out, func(_ string, r *resident) bool { return !r.ending.IsZero() })
	return out, err
}

// forget drops the instances that were withdrawn.
func (s *storm) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.residents, func(_ string, r *resident) bool { return r.ended })
}

// everywhere returns why the instances of agents are not shown as they should be by the first server, and why an agent shows
// something else than that server. What programs with leases have that ended is not compared.
func (s *storm) everywhere() error {
	want, err := s.announced()
	if err != nil {
		return err
	}
	living, err := s.living()
	if err != nil {
		return err
	}
	first, err := s.servers[0].follows(s.ctx, living)
	if err != nil {
		return err
	}
	for _, i := range first {
		if r := want[i.id]; r != nil && i.port == r.port && i.node == r.agent.name() {
			delete(want, i.id)
		} else if !i.leased() {
			return fmt.Errorf("%s shows %v, which is registered at no agent", s.servers[0].name(), i)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("%s does not show %v", s.servers[0].name(), slices.Sorted(maps.Keys(want)))
	}
	for _, p := range s.processes()[1:] {
		all, err := p.follows(s.ctx, living)
		if err != nil {
			return err
		}
		if err := differ(s.servers[0].name(), first, p.name(), all); err != nil {
			return err
		}
	}
	return nil
}

// follows returns what a process shows of the services that are followed, but for programs with leases that ended.
func (p *process) follows(ctx context.Context, living map[string]int) (out []instance, err error) {
	for _, service := range followed {
		found, err := p.health(ctx, service)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return slices.DeleteFunc(out, func(i instance) bool { _, lives := living[i.id]; return i.leased() && !lives }), nil
}

// attachedTo returns the server that an agent is attached to.
func (s *storm) attachedTo(a *agent) (n int, err error) {
	var self struct {
		Stats map[string]map[string]string
	}
	if err := a.ask(s.ctx, "GET", "/v1/agent/self", nil, &self); err != nil {
		return 0, err
	}
	for _, section := range self.Stats {
		for n, server := range s.servers {
			if _, ok := section["registrations_announced"]; ok && (section["server"] == server.name() || section["server"] == server.label) {
				return n, nil
			}
		}
	}
	return 0, errors.New(a.name() + " is attached to no server")
}

// withAgents starts the agents and their programs.
func (s *storm) withAgents(n int, binary string) {
	for i := range n {
		a := newAgent(s.t, s.lab, i, len(s.servers), binary)
		s.agents = append(s.agents, a)
		if s.tls {
			a.joinWith(s.agentToken())
		}
	}
	for _, a := range s.agents {
		a.run()
	}
	err := program.Await(comingUp, func() error {
		for _, a := range s.agents {
			if err := a.ready(s.ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("the agents do not come up: %v", err)
	}
	for _, a := range s.agents {
		s.inhabit(a)
	}
}

// anAgent picks an agent.
func (s *storm) anAgent(r *rand.Rand) *agent { return s.agents[r.IntN(len(s.agents))] }

// idOf is the id of the instance with a port, or stands for one that left in an earlier round.
func (s *storm) idOf(port int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.residents {
		if r.port == port {
			return id
		}
	}
	return fmt.Sprint("port ", port)
}
