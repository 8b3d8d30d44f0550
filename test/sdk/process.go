package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry/test/sdk/work"
)

// rig holds the programs of the measurement and everything that was started, so that
// nothing is left behind.
type rig struct {
	ctx context.Context
	dir string // for everything that is written
	pid int    // our own

	log *os.File // errors of children

	mu       sync.Mutex
	children []*child
	port     int
}

// programs are built where they belong: skerry in the main module. Callers are a program
// for each policy, which links what its users link.
var programs = []struct{ name, module, pkg string }{
	{"server", "github.com/skerryhq/skerry/test/sdk", "./server"},
	{"skerry_p2c", "github.com/skerryhq/skerry/test/sdk", "./caller/skerry"},
	{"p2c_ewma", "github.com/skerryhq/skerry/test/sdk", "./caller/gozero"},
	{"round_robin", "github.com/skerryhq/skerry/test/sdk", "./caller/roundrobin"},
	{"etcd", "github.com/skerryhq/skerry/test/sdk", "./etcd"},
	{"skerry", "github.com/skerryhq/skerry", "./cmd/skerry"},
}

// moduleDir returns the folder of a module of this repository.
func moduleDir(module string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s (run this in test/sdk): %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// newRig builds the programs that are named; without names, all. The standard error of
// children goes to log.
func newRig(ctx context.Context, log *os.File, names ...string) (*rig, error) {
	dir, err := os.MkdirTemp("", "skerry-sdk-")
	if err != nil {
		return nil, err
	}
	r := &rig{ctx: ctx, log: log, dir: dir, pid: os.Getpid(), port: firstPort + os.Getpid()%100*100}
	if err := r.build(names); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rig) build(names []string) error {
	for _, p := range programs {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		dir, err := moduleDir(p.module)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(r.ctx, "go", "build", "-ldflags=-s -w", "-o", r.program(p.name), p.pkg)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p.pkg, err, out)
		}
	}
	return nil
}

func (r *rig) program(name string) string { return filepath.Join(r.dir, name) }

// close ends the started programs, each by its process.
func (r *rig) close() {
	r.mu.Lock()
	children := r.children
	r.children = nil
	r.mu.Unlock()
	for _, c := range children {
		c.kill()
	}
	os.RemoveAll(r.dir)
}

// Ports below those that outgoing connections take.
const (
	firstPort = 20000
	lastPort  = 31000
)

// address returns a free one of loopback.
func (r *rig) address() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.port++; r.port > lastPort {
			r.port = firstPort
		}
		a := "127.0.0.1:" + strconv.Itoa(r.port)
		if l, err := net.Listen("tcp", a); err == nil {
			l.Close()
			return a
		}
	}
}

// child is a process of ours. It ends when its standard input does, so that none is
// left if this program dies.
type child struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.Reader
	ended chan struct{}
	gone  time.Time // when it had ended
}

// start starts a program; around is a command to run it by.
func (r *rig) start(around []string, name string, args ...string) (*child, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	line := append(append(around, r.program(name)), args...)
	c := &child{name: name, cmd: exec.Command(line[0], line[1:]...), ended: make(chan struct{})}
	c.cmd.Stderr = r.log
	// As in a container with one processor: Go's search for work on others costs a
	// third of the machine when there are forty programs.
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: that of cmd is closed by Wait before all is read.
	out, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out, c.cmd.Stdout = in, out, write
	err = c.cmd.Start()
	write.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = c.cmd.Wait() // its errors are in the log
		c.gone = time.Now()
		close(c.ended)
	}()
	r.mu.Lock()
	r.children = append(r.children, c)
	r.mu.Unlock()
	return c, nil
}

func (c *child) signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// kill ends it at once, also when it is stopped.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// await waits until it has ended by itself.
func (c *child) await(within time.Duration) error {
	select {
	case <-c.ended:
		return nil
	case <-time.After(within):
		c.kill()
		return fmt.Errorf("%s (process %d) has not ended within %v", c.name, c.cmd.Process.Pid, within)
	}
}

// server is a server of the measurement.
type server struct {
	*child
	address string
}

// startServer starts a server and waits until it takes connections.
func (r *rig) startServer(around []string, address string, args ...string) (*server, error) {
	c, err := r.start(around, "server", append([]string{"-listen", address}, args...)...)
	if err != nil {
		return nil, err
	}
	if err := c.said(10 * time.Second); err != nil {
		return nil, err
	}
	if around == nil { // else it is not to be reached from here
		err = listens(address, 10*time.Second)
	}
	return &server{c, address}, err
}

// said waits for the first line, and forgets all that come.
func (c *child) said(within time.Duration) error {
	line := make(chan error, 1)
	go func() {
		in := bufio.NewReader(c.out)
		_, err := in.ReadString('\n')
		line <- err
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case err := <-line:
		if err != nil {
			return fmt.Errorf("%s has said nothing: %w", c.name, err)
		}
		return nil
	case <-time.After(within):
		c.kill()
		return fmt.Errorf("%s has said nothing within %v", c.name, within)
	}
}

// listens waits until an address takes connections.
func listens(address string, within time.Duration) error {
	for end := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not take connections: %w", address, err)
		}
	}
}

// fault gives the server a fault.
func (s *server) fault(name string) error {
	_, err := fmt.Fprintln(s.in, name)
	return err
}

// fleet starts so many servers that are found by a list.
func (r *rig) fleet(n int, args ...string) ([]*server, error) {
	out := make([]*server, n)
	for i := range out {
		var err error
		if out[i], err = r.startServer(nil, r.address(), append(args, "-seed", strconv.Itoa(i))...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func list(servers []*server) string {
	var all []string
	for _, s := range servers {
		all = append(all, s.address)
	}
	return strings.Join(all, ",")
}

// caller is a program of callers of one policy, with its output so far.
type caller struct {
	*child
	begun time.Time
	ready chan struct{}
	read  chan struct{} // closed when all is read

	mu      sync.Mutex
	first   time.Duration // from the start of the process to its first list
	records []work.Record
}

// startCaller starts callers of a policy.
func (r *rig) startCaller(around []string, policy string, args ...string) (*caller, error) {
	begun := time.Now()
	c, err := r.start(around, policy, args...)
	if err != nil {
		return nil, err
	}
	out := &caller{child: c, begun: begun, ready: make(chan struct{}), read: make(chan struct{})}
	go func() {
		defer close(out.read)
		_ = work.Read(c.out, func(record work.Record) {
			out.mu.Lock()
			defer out.mu.Unlock()
			if record.Code != work.Ready {
				out.records = append(out.records, record)
				return
			}
			out.first = time.Since(begun)
			close(out.ready)
		})
	}()
	return out, nil
}

// awaitReady waits for the first list.
func (c *caller) awaitReady(within time.Duration) error {
	select {
	case <-c.ready:
		return nil
	case <-c.read:
		return errors.New("the caller has ended before it was ready")
	case <-time.After(within):
		return fmt.Errorf("the caller has no list after %v", within)
	}
}

// finish lets the calls under way end, and returns all records.
func (c *caller) finish() ([]work.Record, error) {
	c.in.Close()
	if err := c.await(10 * time.Second); err != nil {
		return nil, err
	}
	<-c.read
	return c.records, nil
}

// sleep waits, or returns an error if the measurement is broken off.
func (r *rig) sleep(d time.Duration) error {
	select {
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-time.After(d):
		return nil
	}
}
