//go:build linux

package storm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/linear"
	"github.com/skerryhq/skerry/test/program"
)

// storm is a cluster under load.
type storm struct {
	tls     bool // processes show each other certificates
	t       testing.TB
	lab     *lab
	servers []*server
	agents  []*agent
	record  *record
	holds   *holds

	ctx  context.Context // of the programs with leases, and of those that watch
	work sync.WaitGroup

	stepped func(n int) string // the file with the offset of a server's clock; nil: it has the machine's
	disks   bool               // each server has a small disk

	mu      sync.Mutex
	broken  map[int]bool // servers that a fault has to itself
	tenants []*tenant
	made    int         // tenants and residents so far
	left    []time.Time // when the last ones left
	round   int64

	residents map[string]*resident // by id
}

// options are what is special about a cluster.
type options struct {
	servers int
	agents  int
	clocks  bool   // they can be stepped: the servers are of a build for this test
	disks   bool   // each server has a small disk of its own
	binary  string // of all processes at first; empty: that of this tree
}

// begin starts a cluster, and the programs with leases at work, and waits until all servers
// show them.
func begin(t testing.TB, o options) *storm {
	t.Helper()
	s := &storm{
		t: t, lab: newLab(t, o.servers+o.agents), record: newRecord(o.servers, o.agents), holds: &holds{}, broken: map[int]bool{}, disks: o.disks,
		residents: map[string]*resident{},
	}
	binary := o.binary
	switch {
	case o.clocks:
		binary, s.stepped = steppable(t)
	case binary == "":
		binary = program.Skerry(t)
	}
	for n := range o.servers {
		var dir string
		if o.disks {
			dir = program.SmallDisk(t, "400m")
		} else {
			dir = t.TempDir()
		}
		server := newServer(t, s.lab, n, o.servers, dir, binary)
		if s.stepped != nil {
			server.env = []string{clockVariable + "=" + s.stepped(n)}
		}
		s.servers = append(s.servers, server)
	}
	s.secure(binary)
	for _, server := range s.servers {
		server.run()
	}
	var stop context.CancelFunc
	s.ctx, stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		s.work.Wait()
	})
	every := make([]int, o.servers)
	for n := range every {
		every[n] = n
	}
	for range 12 {
		s.add("shop", every)
	}
	for range staying {
		s.add("job", every)
	}
	for n := range every {
		for range 4 {
			s.add(site(n), []int{n})
			s.start(&tenant{service: "net", from: n + 1, site: every})
		}
		for range 2 {
			s.add("mix", []int{n})
		}
		if err := s.servers[n].own(); err != nil {
			t.Fatal(err)
		}
	}
	s.withAgents(o.agents, binary)
	for n := range s.servers {
		for _, service := range s.services() {
			s.work.Go(func() { s.watch(s.servers[n], service) })
		}
	}
	if err := program.Await(comingUp, s.whole); err != nil {
		t.Fatalf("the cluster does not come up: %v", err)
	}
	if err := program.Await(comingUp, s.everywhere); err != nil {
		t.Fatalf("the agents do not come up: %v", err)
	}
	return s
}

// own registers a service of the server's own agent.
func (s *server) own() error {
	return s.client.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: fmt.Sprint("own-", s.n+1), Name: "own", Port: 7000 + s.n})
}

// comingUp bounds the start of a cluster.
const comingUp = 2 * time.Minute

// site is the service of the programs that reach one server only.
func site(n int) string { return fmt.Sprint("site-", n+1) }

// services are those of the programs with leases.
func (s *storm) services() []string {
	out := []string{"shop", "job", "mix", "net"}
	for n := range s.servers {
		out = append(out, site(n))
	}
	return out
}

// add starts a program with a lease that stays.
func (s *storm) add(service string, reach []int) *tenant {
	return s.start(&tenant{service: service, site: reach})
}

// start starts a program.
func (s *storm) start(n *tenant) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	n.s, n.id, n.port, n.turn = s, fmt.Sprintf("%s.%d", n.service, s.made), 1000, s.made
	s.tenants = append(s.tenants, n)
	s.work.Go(func() { n.run(s.ctx) })
	return n
}

// watch asks a server for a service again and again, and notes what vanishes from one
// answer to the next, but for restarts of the server.
func (s *storm) watch(server *server, service string) {
	var shown []string
	var asked time.Time // for what is shown
	var index string
	life := server.lives()
	for s.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		var found []struct{ Service struct{ ID string } }
		began := time.Now()
		header, err := server.exchange(ctx, "GET", "/v1/health/service/"+service+"?wait=500ms&index="+index, nil, &found)
		cancel()
		if now := server.lives(); now != life {
			life, shown, index = now, nil, ""
			continue
		}
		if err != nil {
			index = ""
			rest(s.ctx, 50*time.Millisecond)
			continue
		}
		at := time.Now()
		index = header.Get("X-Consul-Index")
		var ids []string
		for _, f := range found {
			ids = append(ids, f.Service.ID)
		}
		for _, id := range shown {
			if !slices.Contains(ids, id) {
				s.record.gone(server.n, id, asked, at)
			}
		}
		shown, asked = ids, began
	}
}

// load is the work of a round on the quorum store.
type load struct {
	s       *storm
	history *linear.History
	calm    context.CancelFunc // ends the changes of what programs announce
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// load starts clients of keys and holders of locks, with keys of their own: how long a
// history takes to be judged grows beyond all bounds with the calls whose outcome is
// not known. So a long round has none.
func (s *storm) load(keys bool) *load {
	s.round++
	ctx, stop := context.WithCancel(s.ctx)
	changes, calm := context.WithCancel(ctx)
	l := &load{s: s, history: linear.NewHistory(), calm: calm, stop: stop}
	s.holds = &holds{}
	l.work.Go(func() { s.churn(changes) })
	for _, a := range s.agents {
		l.work.Go(func() { s.comeAndGo(changes, a) })
	}
	if !keys {
		return l
	}
	for i := range 2 * len(s.servers) {
		l.work.Go(func() { l.use(ctx, i) })
	}
	// Locks that are kept for long outlive the node that their sessions are bound to.
	for key, keeps := range []time.Duration{4 * time.Second, 4 * time.Second, 2 * lasts} {
		for i := range 3 {
			h := &holder{s: s, key: fmt.Sprintf("held/%d/%d", s.round, key), roams: i > 0 || keeps > lasts, keeps: keeps, turn: rand.IntN(len(s.servers))}
			l.work.Go(func() { h.run(ctx) })
		}
	}
	return l
}

// use makes calls on keys, half of them at one server or agent and half at all that answer in time.
func (l *load) use(ctx context.Context, i int) {
	hosts := len(l.s.servers) + len(l.s.agents)
	avoided := make([]time.Time, hosts)
	var to int
	c := &linear.Client{ID: i, History: l.history, To: func() *api.Client {
		if to = rand.IntN(hosts); rand.IntN(2) == 0 || time.Now().Before(avoided[to]) {
			to = i % hosts
		}
		return l.s.process(to).client
	}}
	c.Begin(l.s.round)
	for ctx.Err() == nil {
		began := time.Now()
		if rand.IntN(2) == 0 {
			c.Register()
		} else {
			c.Pair(l.s.t)
		}
		if time.Since(began) > answerWithin {
			avoided[to] = time.Now().Add(ttl)
		}
		rest(ctx, rand.N(40*time.Millisecond))
	}
}

// end stops the work of the round.
func (l *load) end() {
	l.stop()
	l.work.Wait()
}

// churn changes what programs announce, starts some, and ends others.
func (s *storm) churn(ctx context.Context) {
	for ctx.Err() == nil {
		rest(ctx, rand.N(time.Second))
		s.mu.Lock()
		n := s.tenants[rand.IntN(len(s.tenants))]
		s.mu.Unlock()
		switch rand.IntN(4) {
		case 0:
			where := rand.IntN(len(s.servers) + 1)
			reach := n.site
			if where < len(s.servers) {
				reach = []int{where}
			}
			s.comes(reach)
		case 1:
			s.leaves()
		default:
			_, port, _ := n.now()
			n.set(port + 1)
		}
	}
}

// comes adds a program that will leave. There are never so many of them that their silence
// makes the guard hold them, which is meant for more than half of a service.
func (s *storm) comes(reach []int) {
	s.mu.Lock()
	there := 0
	for _, n := range s.tenants {
		if n.leaving {
			there++
		}
	}
	s.left = slices.DeleteFunc(s.left, func(at time.Time) bool { return time.Since(at) > longSilent })
	there += len(s.left)
	s.mu.Unlock()
	if there < staying-2 {
		s.start(&tenant{service: "job", site: reach, leaving: true})
	}
}

const (
	// staying is how many programs of the service job do not leave.
	staying = 12
	// longSilent is the time in which all servers lose a program that is silent.
	longSilent = 10 * ttl
)

// leaves ends one of the programs that came: it withdraws, or dies.
func (s *storm) leaves() {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.tenants, func(n *tenant) bool { return n.leaving })
	if i < 0 {
		return
	}
	n := s.tenants[i]
	s.left = append(s.left, time.Now())
	if rand.IntN(2) == 0 {
		s.tell("%s, which reaches %v, withdraws", n.id, n.site)
		n.become(withdrawing)
	} else {
		s.tell("%s, which reaches %v, dies", n.id, n.site)
		n.become(gone)
	}
	s.tenants = slices.Delete(s.tenants, i, i+1)
}
