package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cluster is the processes: servers, and after them the agent if the role has one.
type cluster struct {
	role  role
	all   []*process
	front net.Addr // of the HTTP API that was asked for
	ready chan struct{}
	ended chan *process

	mu     sync.Mutex
	killed bool
}

func (c *cluster) servers() []*process { return c.all[:c.role.servers] }
func (c *cluster) asked() *process     { return c.all[c.role.asked()] }

// start starts the servers, waits until all know each other and the one that is asked for does not lead, and
// starts the agent, which gets further arguments.
func (c *cluster) start(bin string, args []string) error {
	for _, s := range c.servers() {
		if err := c.run(s, bin); err != nil {
			return err
		}
	}
	if err := c.await("the servers know each other", c.whole); err != nil {
		return err
	}
	for !c.role.agent && c.leader(c.asked()) == c.asked().peer {
		if err := c.handOver(); err != nil {
			return err
		}
	}
	if c.role.agent {
		if err := c.run(c.asked(), bin, args...); err != nil {
			return err
		}
		attached := func() bool { return ask(c.asked(), "/v1/status/ready", new(any)) == nil }
		if err := c.await("the agent is attached", attached); err != nil {
			return err
		}
	}
	close(c.ready)
	return nil
}

// run starts one of the processes, unless they were killed.
func (c *cluster) run(p *process, bin string, args ...string) error {
	log, err := os.Create(strings.TrimSuffix(p.file, filepath.Ext(p.file)) + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(bin, append([]string{"agent", "-config-file", p.file}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if p == c.asked() {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		return errors.New("stopped")
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	go func() {
		_ = cmd.Wait()
		c.ended <- p
	}()
	return nil
}

// handOver holds the leader still until another leads.
func (c *cluster) handOver() error {
	first := c.all[0]
	if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := c.await("another server leads", func() bool {
		leader := c.leader(c.all[1])
		return leader != "" && leader != first.peer
	})
	first.cmd.Process.Signal(syscall.SIGCONT)
	if err != nil {
		return err
	}
	return c.await("the servers know each other again", c.whole)
}

// whole reports whether all servers name the same leader and as many peers as there are.
func (c *cluster) whole() bool {
	leader := c.leader(c.all[0])
	for _, s := range c.servers() {
		var peers []string
		if ask(s, "/v1/status/peers", &peers) != nil || len(peers) != c.role.servers || c.leader(s) != leader {
			return false
		}
	}
	return leader != ""
}

// leader returns the leader's address as a server knows it.
func (c *cluster) leader(s *process) (address string) {
	if ask(s, "/v1/status/leader", &address) != nil {
		return ""
	}
	return address
}

var client = http.Client{Timeout: 2 * time.Second}

func ask(p *process, path string, answer any) error {
	r, err := client.Get("http://" + p.http + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return json.NewDecoder(r.Body).Decode(answer)
}

// patience bounds each wait of the start.
const patience = time.Minute

func (c *cluster) await(what string, is func() bool) error {
	late := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-late:
			return fmt.Errorf("%s: still not after %v", what, patience)
		case <-again.C:
			c.mu.Lock()
			killed := c.killed
			c.mu.Unlock()
			if killed {
				return errors.New("stopped")
			}
		}
	}
	return nil
}

// stopWithin bounds the time that the process that was asked for has to leave.
const stopWithin = 5 * time.Second

// stop asks the process that was asked for to leave, and waits until it ended.
func (c *cluster) stop() error {
	c.mu.Lock()
	cmd := c.asked().cmd
	c.mu.Unlock()
	if cmd == nil {
		return nil
	}
	cmd.Process.Signal(os.Interrupt)
	late := time.After(stopWithin)
	for {
		select {
		case p := <-c.ended:
			if p == c.asked() {
				return nil
			}
		case <-late:
			return fmt.Errorf("the process did not end within %v", stopWithin)
		}
	}
}

// kill ends all processes.
func (c *cluster) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	for _, p := range c.all {
		if p.cmd != nil {
			p.cmd.Process.Kill()
		}
	}
}
