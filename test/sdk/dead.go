package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/test/sdk/work"
)

const (
	registryServers = 3
	registryRate    = "60"
)

// registryDead kills the registries for a while in which every server is restarted
// twice and the caller once, and then starts them with empty data. go-zero's callers
// are measured with servers of ours that register in etcd as go-zero's do, because
// go-zero's own cannot start then.
func (s *suite) registryDead(seed int, dead time.Duration) error {
	sides, err := s.sides(false)
	if err != nil {
		return err
	}
	failed := make(chan error, len(sides))
	for _, sd := range sides {
		go func() { failed <- s.registryDeadSide(seed, sd, dead) }()
	}
	for range sides {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return err
}

func (s *suite) registryDeadSide(seed int, sd *side, dead time.Duration) error {
	defer func() { sd.registry.kill() }()
	servers, err := s.registered(sd)
	defer func() { killAll(servers) }()
	if err != nil {
		return err
	}
	cache := filepath.Join(s.dir, fmt.Sprintf("cache-%s-%d", sd.policy, seed))
	call := func() (*caller, error) {
		return s.startCaller(nil, sd.policy, "-find", sd.find, "-servers", list(servers), "-cache", cache, "-callers", "2", "-rps", registryRate, "-seed", strconv.Itoa(seed))
	}
	c, err := call()
	if err != nil {
		return err
	}
	if err := c.awaitReady(10 * time.Second); err != nil {
		return fmt.Errorf("%s: %w", sd.policy, err)
	}
	if err := s.sleep(4 * time.Second); err != nil {
		return err
	}
	add := func(metric string, v float64) { s.add(sample{"registry", sd.policy, metric, seed, v}) }

	sd.registry.kill()
	began := time.Now()
	if err := s.restartTwice(sd, servers, dead/(2*registryServers+1)); err != nil {
		return err
	}
	if rest := dead - time.Since(began); rest > 0 {
		if err := s.sleep(rest); err != nil {
			return err
		}
	}
	records, err := c.finish()
	if err != nil {
		return err
	}
	if sd.policy == ours {
		add("server starts", 1) // each has, twice
	}
	add("dead s", time.Since(began).Seconds())
	add("calls", float64(len(records)))
	add("failed", float64(len(failed(records))))

	// A caller that starts while the registry is dead.
	again, err := call()
	if err != nil {
		return err
	}
	if err := again.awaitReady(15 * time.Second); err != nil {
		add("starts", 0)
		again.kill()
		if err := sd.registry.start(true); err != nil {
			return err
		}
		return nil
	}
	add("starts", 1)
	add("start ms", float64(again.first)/float64(time.Millisecond))
	return s.emptyRegistry(seed, sd, again)
}

// registered starts the servers, and waits until they are registered.
func (s *suite) registered(sd *side) (servers []*server, err error) {
	for range registryServers {
		srv, err := s.startServer(nil, s.address(), sd.server()...)
		if err != nil {
			return servers, err
		}
		servers = append(servers, srv)
	}
	return servers, s.sleep(3 * time.Second)
}

// server is how a server of this side is started.
func (sd *side) server() []string { return append([]string{"-mean", "5ms"}, sd.register...) }

// restartTwice stops each server gracefully and starts it again where it was, two times.
func (s *suite) restartTwice(sd *side, servers []*server, pause time.Duration) error {
	for n := range 2 * registryServers {
		if err := s.sleep(pause); err != nil {
			return err
		}
		i := n % registryServers
		if err := servers[i].signal(syscall.SIGTERM); err != nil {
			return err
		}
		// It says that it could not withdraw, which is so.
		if err := servers[i].await(30 * time.Second); err != nil {
			return err
		}
		again, err := s.startServer(nil, servers[i].address, sd.server()...)
		if err != nil {
			return err
		}
		servers[i] = again
		// Callers reconnect to it before the next one goes.
		if err := s.sleep(4 * time.Second); err != nil {
			return err
		}
	}
	return nil
}

// emptyRegistry brings the registry back without its data.
func (s *suite) emptyRegistry(seed int, sd *side, c *caller) error {
	if err := s.sleep(3 * time.Second); err != nil {
		return err
	}
	back := time.Now()
	if err := sd.registry.start(true); err != nil {
		return err
	}
	if err := s.sleep(20 * time.Second); err != nil {
		return err
	}
	records, err := c.finish()
	if err != nil {
		return err
	}
	s.emptyFigures(seed, sd.policy, window{back, time.Now()}.of(records), failed(records))
	return nil
}

// emptyFigures: whether the list was kept while the registry was empty.
func (s *suite) emptyFigures(seed int, policy string, since, lost []work.Record) {
	s.add(sample{"registry", policy, "failed after start", seed, float64(len(lost))})
	s.add(sample{"registry", policy, "fewest servers", seed, float64(fewest(since))})
}

// fewest is how many servers had calls in the two seconds in which they were fewest.
func fewest(records []work.Record) int {
	if len(records) == 0 {
		return 0
	}
	slices.SortFunc(records, func(a, b work.Record) int { return int(a.At - b.At) })
	least := registryServers
	first, last := records[0].Sent(), records[len(records)-1].Sent()
	for from := first; from.Add(2 * time.Second).Before(last); from = from.Add(time.Second) {
		called := map[uint8]bool{}
		for _, r := range (window{from, from.Add(2 * time.Second)}).of(records) {
			if r.Server != work.NoServer {
				called[r.Server] = true
			}
		}
		least = min(least, len(called))
	}
	return least
}

// emptyBeside brings etcd back empty under a go-zero caller that was there before:
// one that starts in between it does not have. Meanwhile a go-zero server tries to
// start.
func (s *suite) emptyBeside(seed int) error {
	sides, err := s.sides(false)
	if err != nil {
		return err
	}
	for _, sd := range sides {
		defer func() { sd.registry.kill() }()
	}
	sd := sides[1]
	servers, err := s.registered(sd)
	defer func() { killAll(servers) }()
	if err != nil {
		return err
	}
	c, err := s.startCaller(nil, sd.policy, "-find", sd.find, "-servers", list(servers), "-callers", "2", "-rps", registryRate)
	if err != nil {
		return err
	}
	if err := c.awaitReady(10 * time.Second); err != nil {
		return err
	}
	if err := s.sleep(3 * time.Second); err != nil {
		return err
	}
	sd.registry.kill()
	started := 0.
	if srv, err := s.startServer(nil, s.address(), "-gozero", sd.registry.address); err == nil {
		started = 1
		defer srv.kill()
	}
	s.add(sample{"registry", sd.policy, "server starts", seed, started})
	return s.emptyRegistry(seed, sd, c)
}

// oneDead starts callers with three addresses of a registry, of which the first is dead.
func (s *suite) oneDead(seed int) error {
	return errors.Join(s.oneDeadOurs(seed), s.oneDeadTheirs(seed))
}

func (s *suite) oneDeadOurs(seed int) error {
	agent, err := s.startAgent()
	if err != nil {
		return err
	}
	defer agent.kill()
	second, err := s.startAgent()
	if err != nil {
		return err
	}
	defer second.kill()
	hosts := []string{s.address(), agent.address, second.address}
	find := "skerry://" + strings.Join(hosts, ",")
	return s.oneDeadSide(seed, ours, find, []string{"-registry", find})
}

func (s *suite) oneDeadTheirs(seed int) error {
	hosts, members, err := s.etcdCluster()
	defer func() {
		for _, m := range members {
			m.kill()
		}
	}()
	if err != nil {
		return err
	}
	live := "etcd://" + strings.Join(hosts[1:], ",") + "/?layout=gozero"
	return s.oneDeadSide(seed, "p2c_ewma", "gozero://"+strings.Join(hosts, ","), []string{"-registry", live})
}

// etcdCluster starts three members and kills the first.
func (s *suite) etcdCluster() (hosts []string, members []*child, err error) {
	var peers, initial []string
	for n := range 3 {
		hosts, peers = append(hosts, s.address()), append(peers, s.address())
		initial = append(initial, fmt.Sprintf("m%d=http://%s", n, peers[n]))
	}
	for n := range 3 {
		dir, err := os.MkdirTemp(s.dir, "member-")
		if err != nil {
			return nil, members, err
		}
		c, err := s.rig.start(nil, "etcd", "-dir", dir, "-name", fmt.Sprint("m", n), "-listen", hosts[n], "-peer", peers[n], "-cluster", strings.Join(initial, ","))
		if err != nil {
			return nil, members, err
		}
		members = append(members, c)
	}
	for _, m := range members {
		if err := m.said(30 * time.Second); err != nil {
			return nil, members, err
		}
	}
	members[0].kill()
	return hosts, members, s.sleep(2 * time.Second) // the others elect
}

func (s *suite) oneDeadSide(seed int, policy, find string, register []string) error {
	srv, err := s.startServer(nil, s.address(), append([]string{"-mean", "5ms"}, register...)...)
	if err != nil {
		return err
	}
	defer srv.kill()
	if err := s.sleep(4 * time.Second); err != nil {
		return err
	}
	c, err := s.startCaller(nil, policy, "-find", find, "-servers", srv.address, "-callers", "1", "-rps", "20")
	if err != nil {
		return err
	}
	defer c.kill()
	if err := c.awaitReady(15 * time.Second); err != nil {
		s.add(sample{"one dead", policy, "starts", seed, 0})
		s.add(sample{"one dead", policy, "gave up s", seed, time.Since(c.begun).Seconds()})
		return nil
	}
	s.add(sample{"one dead", policy, "starts", seed, 1})
	s.add(sample{"one dead", policy, "start ms", seed, float64(c.first) / float64(time.Millisecond)})
	return nil
}
