package main

import (
	"net"
	"os"
	"time"
)

// registry is one that can be killed and started again, with its data or without.
type registry struct {
	s       *suite
	address string
	dir     string
	args    func(r *registry) (program string, args []string)
	below   *registry // the server of a node agent, which ends and starts with it
	*child
}

// startAgent starts a skerry agent that is a server, or with -agent a node agent of a server.
func (s *suite) startAgent() (*registry, error) {
	join := s.address()
	r := s.skerry("bench", "-server", "-bootstrap-expect=1", "-server-port", port(join))
	if s.behind {
		server := r
		r = s.skerry("agent", "-retry-join", join)
		r.below = server
	}
	return r, r.start(true)
}

func (s *suite) skerry(node string, role ...string) *registry {
	dns := s.address()
	return &registry{s: s, address: s.address(), args: func(r *registry) (string, []string) {
		return "skerry", append([]string{"agent", "-data-dir", r.dir, "-node", node, "-bind", "127.0.0.1",
			"-http-port", port(r.address), "-dns-port", port(dns), "-log-level", "error"}, role...)
	}}
}

// kill ends it without a warning.
func (r *registry) kill() {
	r.child.kill()
	if r.below != nil {
		r.below.kill()
	}
}

// startEtcd starts an etcd of one member.
func (s *suite) startEtcd() (*registry, error) {
	peer := s.address()
	r := &registry{s: s, address: s.address(), args: func(r *registry) (string, []string) {
		return "etcd", []string{"-dir", r.dir, "-listen", r.address, "-peer", peer}
	}}
	return r, r.start(true)
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// start starts it, with its data or empty.
func (r *registry) start(empty bool) error {
	if r.below != nil {
		if err := r.below.start(empty); err != nil {
			return err
		}
	}
	if empty {
		var err error
		if r.dir, err = os.MkdirTemp(r.s.dir, "registry-"); err != nil {
			return err
		}
	}
	program, args := r.args(r)
	var err error
	if r.child, err = r.s.rig.start(nil, program, args...); err != nil {
		return err
	}
	return listens(r.address, 20*time.Second)
}

// side is one SDK with the registry that is its own.
type side struct {
	policy   string
	registry *registry
	find     string   // for callers
	register []string // for servers
}

// sides starts a registry for us, and one for go-zero.
func (s *suite) sides(goZeroServers bool) ([]*side, error) {
	agent, err := s.startAgent()
	if err != nil {
		return nil, err
	}
	etcd, err := s.startEtcd()
	if err != nil {
		return nil, err
	}
	theirs := []string{"-registry", "etcd://" + etcd.address + "/?layout=gozero"}
	if goZeroServers {
		theirs = []string{"-gozero", etcd.address}
	}
	return []*side{
		{ours, agent, "skerry://" + agent.address, []string{"-registry", "skerry://" + agent.address}},
		{"p2c_ewma", etcd, "gozero://" + etcd.address, theirs},
	}, nil
}
