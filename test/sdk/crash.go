package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/test/sdk/work"
)

// Servers that die, hang or are cut off: five callers, 200 calls a second.
const (
	crashCallers = 5
	crashRate    = "200"
	crashMean    = "20ms"
)

// crashes kills a server, and stops another.
func (s *suite) crashes(seed int) error {
	var servers [][]*server
	var callers []*caller
	defer func() {
		for i := range servers {
			killAll(servers[i])
		}
		for _, c := range callers {
			c.kill()
		}
	}()
	for _, p := range policies {
		f, err := s.fleet(fleetSize, "-mean", crashMean)
		if err != nil {
			return err
		}
		servers = append(servers, f)
		c, err := s.crashCaller(nil, p, f, seed)
		if err != nil {
			return err
		}
		callers = append(callers, c)
	}
	signalAll := func(server int, what syscall.Signal) (at []time.Time, err error) {
		for _, f := range servers {
			at = append(at, time.Now())
			if err := f[server].signal(what); err != nil {
				return nil, err
			}
		}
		return at, nil
	}
	if err := s.sleep(s.short(8 * time.Second)); err != nil {
		return err
	}
	killed, err := signalAll(1, syscall.SIGKILL)
	if err != nil {
		return err
	}
	var gone []time.Time
	for _, f := range servers {
		if err := f[1].await(5 * time.Second); err != nil {
			return err
		}
		gone = append(gone, f[1].gone)
	}
	if err := s.sleep(8 * time.Second); err != nil {
		return err
	}
	settled := time.Now()
	if err := s.sleep(2 * time.Second); err != nil { // until the last of those calls have ended
		return err
	}
	stopped, err := signalAll(2, syscall.SIGSTOP)
	if err != nil {
		return err
	}
	if err := s.sleep(20 * time.Second); err != nil {
		return err
	}
	end := time.Now()
	for i, p := range policies {
		records, err := callers[i].finish()
		if err != nil {
			return err
		}
		s.killFigures(seed, p, records, killed[i], gone[i], settled)
		s.hangFigures("stop", seed, p, records, window{stopped[i], end})
	}
	return nil
}

func (s *suite) crashCaller(around []string, policy string, servers []*server, seed int) (*caller, error) {
	c, err := s.startCaller(around, policy, "-find", list(servers), "-callers", strconv.Itoa(crashCallers), "-rps", crashRate, "-seed", strconv.Itoa(seed))
	if err != nil {
		return nil, err
	}
	return c, c.awaitReady(10 * time.Second)
}

func killAll(servers []*server) {
	for _, s := range servers {
		s.kill()
	}
}

// killFigures: which calls failed when server 1 died, between its signal and the end of
// its process.
func (s *suite) killFigures(seed int, policy string, records []work.Record, killed, gone, until time.Time) {
	last, lost, flying := time.Duration(0), 0, 0
	for _, r := range records {
		if sent := r.Sent(); sent.Before(until) && sent.After(killed.Add(-2*time.Second)) {
			if r.Code != 0 {
				lost++
				last = max(last, sent.Sub(killed))
			}
			if r.Server == 1 && sent.Before(gone) && sent.Add(r.Latency()).After(killed) {
				flying++
			}
		}
	}
	s.add(sample{"kill", policy, "failed", seed, float64(lost)})
	s.add(sample{"kill", policy, "in flight", seed, float64(flying)})
	s.add(sample{"kill", policy, "failed beyond", seed, float64(max(0, lost-flying))})
	s.add(sample{"kill", policy, "last", seed, float64(last) / float64(time.Millisecond)})
}

// hangFigures: which calls failed, and how long that went on, when a server did not
// answer any more.
func (s *suite) hangFigures(row string, seed int, policy string, records []work.Record, w window) {
	in := w.of(records)
	of := make([]int, crashCallers)
	last := time.Duration(0)
	// Calls that were on their way when the server stopped count as well.
	lost := failed(window{w.from.Add(-2 * time.Second), w.to}.of(records))
	for _, r := range lost {
		of[r.Caller]++
		last = max(last, r.Sent().Sub(w.from))
	}
	most := 0
	for _, n := range of {
		most = max(most, n)
	}
	s.add(sample{row, policy, "calls", seed, float64(len(in))})
	s.add(sample{row, policy, "failed", seed, float64(len(lost))})
	s.add(sample{row, policy, "failed per caller", seed, float64(most)})
	s.add(sample{row, policy, "last", seed, last.Seconds()})
	s.add(sample{row, policy, "p99", seed, quantile(in, .99)})
}

// network is two hosts on a switch, in namespaces of their own.
type network struct{ a, b, middle string }

const addressA, addressB = "10.99.0.1", "10.99.0.2"

func newNetwork(name string) (*network, error) {
	n := &network{name + "a", name + "b", name + "s"}
	steps := [][]string{{"netns", "add", n.middle}, {"-n", n.middle, "link", "add", "br0", "type", "bridge"}, {"-n", n.middle, "link", "set", "br0", "up"}}
	for _, h := range []struct{ ns, port, address string }{{n.a, "pa", addressA}, {n.b, "pb", addressB}} {
		steps = append(steps, []string{"netns", "add", h.ns}, []string{"-n", h.ns, "link", "set", "lo", "up"},
			[]string{"-n", h.ns, "link", "add", "eth0", "type", "veth", "peer", "name", h.port, "netns", n.middle},
			[]string{"-n", n.middle, "link", "set", h.port, "master", "br0", "up"},
			[]string{"-n", h.ns, "addr", "add", h.address + "/24", "dev", "eth0"}, []string{"-n", h.ns, "link", "set", "eth0", "up"})
	}
	for _, args := range steps {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			n.close()
			return nil, fmt.Errorf("ip %v: %w %s", args, err, out)
		}
	}
	return n, nil
}

func (n *network) close() {
	for _, ns := range []string{n.a, n.b, n.middle} {
		_ = exec.Command("ip", "netns", "del", ns).Run()
	}
}

func in(ns string) []string { return []string{"ip", "netns", "exec", ns} }

// cut takes host b off the switch. Its link stays up: packets are lost without a word.
func (n *network) cut() error {
	return exec.Command("ip", "-n", n.middle, "link", "set", "pb", "nomaster").Run()
}

// droppedFleet is how many servers callers have when one of them is cut off.
const droppedFleet = 5

// dropped cuts one server off the network.
func (s *suite) dropped(seed int) error {
	n, err := newNetwork(fmt.Sprintf("sk%d-%d", s.pid, seed))
	if err != nil {
		s.skip("drop", "a network namespace cannot be made here: "+err.Error())
		return nil
	}
	defer n.close()
	var callers []*caller
	for i, p := range policies {
		var f []*server
		defer func() { killAll(f) }()
		for k := range droppedFleet {
			ns, host := n.a, addressA
			if k == 2 {
				ns, host = n.b, addressB
			}
			srv, err := s.startServer(in(ns), fmt.Sprintf("%s:%d", host, 7000+100*i+k), "-mean", crashMean)
			if err != nil {
				return err
			}
			f = append(f, srv)
		}
		c, err := s.crashCaller(in(n.a), p, f, seed)
		if err != nil {
			return err
		}
		defer c.kill()
		callers = append(callers, c)
	}
	if err := s.sleep(s.short(8 * time.Second)); err != nil {
		return err
	}
	cut := time.Now()
	if err := n.cut(); err != nil {
		return err
	}
	if err := s.sleep(20 * time.Second); err != nil {
		return err
	}
	end := time.Now()
	for i, p := range policies {
		records, err := callers[i].finish()
		if err != nil {
			return err
		}
		s.hangFigures("drop", seed, p, records, window{cut, end})
	}
	return nil
}
