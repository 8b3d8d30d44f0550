// Command follower stands for the server that SKERRY_BIN names, as a follower of three.
// Started as `follower agent -config-file F`, it starts the server of F and two more.
// Connections to the HTTP port of F wait until another of the three leads the quorum store.
// Other commands are passed on. Programs that test one server so test a follower.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "follower:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	bin := os.Getenv(program.EnvBinary)
	if bin == "" {
		return fmt.Errorf("set %s to the server to start", program.EnvBinary)
	}
	if len(args) != 3 || args[0] != "agent" || args[1] != "-config-file" {
		return passOn(bin, args)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	three, err := configure(args[2])
	if err != nil {
		return err
	}
	defer three.kill()
	l, err := net.Listen("tcp", three.front)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- three.serve(l) }()
	go func() {
		if err := three.start(bin); err != nil {
			failed <- err
		}
	}()
	select {
	case <-stopped:
		return nil
	case err := <-three.ended:
		return fmt.Errorf("a server of the three ended: %v", err)
	case err := <-failed:
		return err
	}
}

// passOn runs a command of the server itself.
func passOn(bin string, args []string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command(bin, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	return cmd.Wait()
}

// server is one of the three.
type server struct {
	file       string // of its configuration
	http, peer string // host:port of its API, and its address among servers
	cmd        *exec.Cmd
}

// cluster is the three servers. The first is the one that was asked for.
type cluster struct {
	all   []*server
	front string // host:port of the HTTP API that was asked for
	ready chan struct{}
	ended chan error

	mu     sync.Mutex
	killed bool
}

// configure writes the configurations of three servers, made from the one in a file.
func configure(file string) (*cluster, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &cluster{ready: make(chan struct{}), ended: make(chan error, 3)}
	var join []string
	var configs []map[string]any
	for i := range 3 {
		var config map[string]any
		if err := json.Unmarshal(text, &config); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		ports, _ := config["ports"].(map[string]any)
		if ports == nil {
			return nil, fmt.Errorf("%s: ports are missing", file)
		}
		if i == 0 {
			c.front = local(ports["http"])
		}
		one, err := become(config, ports, i)
		if err != nil {
			return nil, err
		}
		one.file = fmt.Sprintf("%s-%d.json", strings.TrimSuffix(file, ".json"), i+1)
		c.all, configs, join = append(c.all, one), append(configs, config), append(join, one.peer)
	}
	for i, config := range configs {
		config["retry_join"] = join
		text, err := json.Marshal(config)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(c.all[i].file, text, 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// become makes the configuration that of the server with a number.
func become(config, ports map[string]any, i int) (*server, error) {
	for name, port := range ports {
		if n, ok := port.(float64); !ok || n <= 0 || i == 0 && name != "http" {
			continue
		}
		free, err := program.FreePort()
		if err != nil {
			return nil, err
		}
		ports[name] = free
	}
	delete(config, "bootstrap")
	config["bootstrap_expect"] = 3
	if i > 0 {
		config["node_name"] = fmt.Sprintf("%v-of-three-%d", config["node_name"], i+1)
		config["node_id"] = fmt.Sprintf("33333333-3333-3333-3333-%012d", i+1)
		config["data_dir"] = fmt.Sprintf("%v-%d", config["data_dir"], i+1)
	}
	return &server{http: local(ports["http"]), peer: local(ports["server"])}, nil
}

func local(port any) string {
	n := 0
	switch p := port.(type) {
	case int:
		n = p
	case float64:
		n = int(p)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(n))
}

// start starts the servers, and returns when all know each other and the first follows.
func (c *cluster) start(bin string) error {
	for _, s := range c.all {
		log, err := os.Create(strings.TrimSuffix(s.file, filepath.Ext(s.file)) + ".log")
		if err != nil {
			return err
		}
		cmd := exec.Command(bin, "agent", "-config-file", s.file)
		cmd.Stdout, cmd.Stderr = log, log
		err = c.run(s, cmd)
		log.Close()
		if err != nil {
			return err
		}
	}
	if err := c.await("the three servers know each other", func() bool { return c.whole() }); err != nil {
		return err
	}
	for c.leader(c.all[0]) == c.all[0].peer {
		if err := c.handOver(); err != nil {
			return err
		}
	}
	close(c.ready)
	return nil
}

// run starts one of the servers, unless they were killed.
func (c *cluster) run(s *server, cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		return errors.New("stopped")
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	go func() { c.ended <- cmd.Wait() }()
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
	return c.await("the three servers know each other again", c.whole)
}

// whole reports whether all servers name the same leader and three peers.
func (c *cluster) whole() bool {
	leader := c.leader(c.all[0])
	for _, s := range c.all {
		var peers []string
		if ask(s, "/v1/status/peers", &peers) != nil || len(peers) != 3 || c.leader(s) != leader {
			return false
		}
	}
	return leader != ""
}

// leader returns the leader's address as a server knows it.
func (c *cluster) leader(s *server) (address string) {
	if ask(s, "/v1/status/leader", &address) != nil {
		return ""
	}
	return address
}

var client = http.Client{Timeout: 2 * time.Second}

func ask(s *server, path string, answer any) error {
	r, err := client.Get("http://" + s.http + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
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
		case err := <-c.ended:
			return fmt.Errorf("a server of the three ended: %v", err)
		case <-late:
			return fmt.Errorf("%s: still not after %v", what, patience)
		case <-again.C:
		}
	}
	return nil
}

// kill ends the servers.
func (c *cluster) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	for _, s := range c.all {
		if s.cmd != nil {
			s.cmd.Process.Kill()
		}
	}
}

// serve passes connections to the HTTP port on to the first server, once it is ready.
func (c *cluster) serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			<-c.ready
			pass(conn, c.all[0].http)
		}()
	}
}

// pass carries one connection, each way until its end.
func pass(from net.Conn, address string) {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(from, to)
		halfClose(from)
	}()
	if _, err := io.Copy(to, from); err != nil && !errors.Is(err, net.ErrClosed) {
		return // the client reset it
	}
	halfClose(to)
	<-back
}

func halfClose(c net.Conn) { c.(*net.TCPConn).CloseWrite() }
