package gozero

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeromicro/go-zero/core/logx"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// plain and ours are internal/demo without and with the blank import.
var plain, ours string

func TestMain(m *testing.M) {
	logx.Disable()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "skerry-gozero-")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer os.RemoveAll(dir)
		plain, ours = filepath.Join(dir, "plain"), filepath.Join(dir, "ours")
		for file, tags := range map[string]string{plain: "", ours: "skerry"} {
			build := exec.Command("go", "build", "-ldflags=-s -w", "-tags", tags, "-o", file, "./internal/demo")
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Printf("%v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// within is how long a test waits for anything.
const within = 20 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// address returns a free one.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// member is a real etcd that can be stopped, and started again without its data.
type member struct {
	conf embed.Config
	host string
	etcd *embed.Etcd
}

func startEtcd(t *testing.T, change func(*embed.Config)) *member {
	t.Helper()
	m := &member{conf: *embed.NewConfig(), host: address(t)}
	peer, host := url.URL{Scheme: "http", Host: address(t)}, url.URL{Scheme: "http", Host: m.host}
	m.conf.ListenPeerUrls, m.conf.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	m.conf.ListenClientUrls, m.conf.AdvertiseClientUrls = []url.URL{host}, []url.URL{host}
	m.conf.InitialCluster = m.conf.Name + "=" + peer.String()
	m.conf.TickMs, m.conf.ElectionMs, m.conf.UnsafeNoFsync = 50, 500, true
	m.conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if change != nil {
		change(&m.conf)
	}
	t.Cleanup(m.stop)
	m.start(t)
	return m
}

// start starts it with no data.
func (m *member) start(t *testing.T) {
	t.Helper()
	m.conf.Dir = t.TempDir()
	conf := m.conf
	e, err := embed.StartEtcd(&conf)
	if err != nil {
		t.Fatal(err)
	}
	m.etcd = e
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(within):
		t.Fatal("etcd is not ready")
	}
}

func (m *member) stop() {
	if m.etcd != nil {
		m.etcd.Close()
		m.etcd = nil
	}
}

// tool is a plain client of it.
func (m *member) tool(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.host}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// keys waits until so many keys are below a service's.
func (m *member) keys(t *testing.T, service string, count int64) {
	t.Helper()
	c := m.tool(t)
	eventually(t, fmt.Sprintf("%d keys of %s", count, service), func() bool {
		found, err := c.Get(t.Context(), service+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && found.Count == count
	})
}

// write writes a configuration.
func write(t *testing.T, yaml string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// program is a go-zero program that runs.
type program struct {
	*exec.Cmd
	exited chan struct{}
	err    error // once it has exited
	stderr bytes.Buffer
	end    func() // of its standard input

	mu      sync.Mutex
	results []result
}

// result is a call that the program has made: see internal/demo.
type result struct {
	At      time.Time
	To, Err string
}

func start(t *testing.T, file string, env []string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(file, args...), exited: make(chan struct{})}
	p.Env, p.Stderr = append(os.Environ(), env...), &p.stderr
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.end = func() { in.Close() }
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r result
			if json.Unmarshal(lines.Bytes(), &r) == nil && !r.At.IsZero() {
				p.mu.Lock()
				p.results = append(p.results, r)
				p.mu.Unlock()
			}
		}
		p.err = p.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() { p.Process.Kill(); <-p.exited })
	return p
}

// stop tells a server to stop, and waits until it has.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

func (p *program) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(within):
		t.Fatal("the program does not end")
	}
}

// server starts a zrpc server; host is etcd's, "" for one that registers nowhere.
func server(t *testing.T, host, at string) *program {
	t.Helper()
	conf := "Name: work\nMode: test\nTimeout: 0\nLog: {Mode: console, Level: severe}\nListenOn: " + at + "\n"
	if host != "" {
		conf += "Etcd: {Hosts: [\"" + host + "\"], Key: work.rpc}\n"
	}
	p := start(t, plain, nil, "server", write(t, conf))
	eventually(t, "a server listens", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// servers starts so many, and returns their addresses.
func servers(t *testing.T, host string, count int) (all []*program, addresses []string) {
	t.Helper()
	for range count {
		at := address(t)
		all, addresses = append(all, server(t, host, at)), append(addresses, at)
	}
	if host != "" {
		(&member{host: host}).keys(t, "work.rpc", int64(count))
	}
	return all, addresses
}

// patience is a timeout that a busy machine does not reach.
const patience = "Timeout: 10000"

// caller starts a zrpc client that calls what a block of its configuration says.
func caller(t *testing.T, file, cache string, rate int, block string) *program {
	t.Helper()
	return start(t, file, []string{"SKERRY_CACHE_DIR=" + cache}, "client", write(t, "WorkRpc: "+block), strconv.Itoa(rate))
}

func etcdBlock(host, key string) string {
	return fmt.Sprintf(`{%s, NonBlock: true, Etcd: {Hosts: [%q], Key: %s}}`, patience, host, key)
}

// made returns the calls that began since then.
func (p *program) made(since time.Time) (out []result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.results {
		if r.At.After(since) {
			out = append(out, r)
		}
	}
	return out
}

// called waits until each of these servers has answered the program.
func (p *program) called(t *testing.T, addresses ...string) {
	t.Helper()
	since := time.Now()
	eventually(t, "all servers are called", func() bool {
		answered := map[string]bool{}
		for _, r := range p.made(since) {
			answered[r.To] = answered[r.To] || r.Err == ""
		}
		for _, a := range addresses {
			if !answered[a] {
				return false
			}
		}
		return true
	})
}

// finish ends a client, and returns the calls since then, those that failed, and how
// many there were by server.
func (p *program) finish(t *testing.T, since time.Time) (calls, failed []result, to map[string]int) {
	t.Helper()
	p.end()
	p.wait(t)
	to = map[string]int{}
	for _, r := range p.made(since) {
		calls = append(calls, r)
		to[r.To]++
		if r.Err != "" {
			failed = append(failed, r)
		}
	}
	if len(calls) == 0 {
		t.Fatalf("no call was made: %v\n%s", p.err, p.stderr.String())
	}
	return calls, failed, to
}

// sample returns what failed, shortened.
func sample(failed []result) string {
	var out []string
	for _, r := range failed[:min(len(failed), 3)] {
		out = append(out, fmt.Sprintf("%s %s: %.150s", r.At.Format("05.000"), r.To, r.Err))
	}
	return strings.Join(out, "\n")
}
