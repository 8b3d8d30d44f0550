package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// Real Patroni keeps real PostgreSQL with its locks here. Both nodes are written to
// without a pause, through an election, a switchover, a kill -9 and a cut that takes
// the primary from the registry and from the other node, but not from its own SQL
// client. Two that accept writes are the fault.
func TestPatroniHasOnePrimary(t *testing.T) {
	t.Parallel()
	p := newPatroni(t)
	p.atAServer()
	p.node("a")
	p.accepts("a", 0)
	p.node("b")
	p.streams("b")

	p.step("switchover to b")
	before := p.accepted("b")
	p.ctl("switchover", "--leader", "a", "--candidate", "b", "--force", "batman")
	p.accepts("b", before)
	p.streams("a")

	p.step("kill -9 of b")
	before = p.accepted("a")
	p.kill("b")
	p.accepts("a", before)
	p.node("b")
	p.streams("b")

	p.step("a is cut off")
	before = p.accepted("b")
	p.cut("a")
	p.accepts("b", before)
	time.Sleep(3 * time.Second) // the old one goes on being written to
	p.heal("a")
	p.streams("a")
	p.judge(3)
}

// failover is the patience of one change of the primary: the session of the old one has to end.
const failover = 75 * time.Second

// await waits for a change of the primary.
func (p *patroni) await(what string, is func() error) {
	p.t.Helper()
	if err := program.Await(failover, is); err != nil {
		p.needsClock()
		p.t.Fatalf("%s: %v", what, err)
	}
}

// needsClock skips a test that failed if the machine's clock was set meanwhile. Patroni measures its time-outs with that clock,
// so a primary that is cut off gives up later when it is set back. It also takes its own PostgreSQL for another process,
// starts it anew and cannot.
func (p *patroni) needsClock() {
	p.t.Helper()
	set := time.Now().Round(0).Sub(p.began.Round(0)) - time.Since(p.began)
	if set.Abs() > time.Second {
		p.t.Skipf("the machine's clock was set by %v during the test", set)
	}
}

// patroni is two nodes and a registry, each in a network namespace of its own, on a
// switch in a fourth.
type patroni struct {
	t     *testing.T
	name  string            // what the namespaces' names begin with
	dir   string            // of the user postgres
	agent map[string]string // host:port of the registry of each node
	bin   string            // the folder of PostgreSQL's programs
	began time.Time

	mu      sync.Mutex
	writes  []acceptance
	writers map[string]int // process IDs
}

// acceptance is a write that a node accepted.
type acceptance struct {
	node       string
	begun, end time.Duration // of the monotonic clock
}

var hosts = map[string]string{"a": "10.99.0.1", "b": "10.99.0.2", "r": "10.99.0.3"}

// The interpreter and its library for SQL come with Patroni.
const python = "/usr/bin/python3"

func newPatroni(t *testing.T) *patroni {
	t.Helper()
	program.Need(t, "patroni", "patronictl", "setpriv", "ip")
	if err := exec.Command(python, "-c", "import consul, psycopg2").Run(); err != nil {
		t.Skip("there is no python3-consul; `make test` installs it")
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Skip("there is no PostgreSQL; `make test` installs it")
	}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		t.Skip(err)
	}
	p := &patroni{t: t, name: fmt.Sprintf("sk%d", os.Getpid()), bin: filepath.Dir(found[len(found)-1]), writers: map[string]int{}, began: time.Now()}
	if p.dir, err = os.MkdirTemp("", "skerry-patroni-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(p.dir) })
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(p.dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	p.connect()
	p.writer("a")
	p.writer("b")
	return p
}

// atAServer makes a server the registry of both nodes.
func (p *patroni) atAServer() {
	registry := startIn(p.t, p.in("r"), map[string]any{"log_level": "warn", "client_addr": hosts["r"]})
	_, port, _ := net.SplitHostPort(registry.http)
	address := net.JoinHostPort(hosts["r"], port)
	p.agent = map[string]string{"a": address, "b": address}
}

// in is the beginning of a command line that runs on a host.
func (p *patroni) in(host string) []string { return []string{"ip", "netns", "exec", p.name + host} }

func (p *patroni) ip(args ...string) {
	p.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		p.t.Fatalf("ip %v: %v %s", args, err, out)
	}
}

// connect makes the hosts and the switch.
func (p *patroni) connect() {
	p.t.Helper()
	middle := p.name + "s"
	if out, err := exec.Command("ip", "netns", "add", middle).CombinedOutput(); err != nil {
		p.t.Skipf("no network namespaces here: %v %s", err, out)
	}
	p.t.Cleanup(func() {
		for _, host := range []string{"a", "b", "r"} {
			p.killAll(host, 0)
			_ = exec.Command("ip", "netns", "del", p.name+host).Run()
		}
		_ = exec.Command("ip", "netns", "del", middle).Run()
	})
	p.ip("-n", middle, "link", "add", "br0", "type", "bridge")
	p.ip("-n", middle, "link", "set", "br0", "up")
	for host, address := range hosts {
		ns := p.name + host
		p.ip("netns", "add", ns)
		p.ip("-n", ns, "link", "set", "lo", "up")
		p.ip("-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "p"+host, "netns", middle)
		p.ip("-n", middle, "link", "set", "p"+host, "master", "br0", "up")
		p.ip("-n", ns, "addr", "add", address+"/24", "dev", "eth0")
		p.ip("-n", ns, "link", "set", "eth0", "up")
	}
}

// cut takes a host off the switch. Its link stays up: packets are lost without a word.
func (p *patroni) cut(host string) { p.ip("-n", p.name+"s", "link", "set", "p"+host, "nomaster") }

func (p *patroni) heal(host string) {
	p.ip("-n", p.name+"s", "link", "set", "p"+host, "master", "br0")
}

func (p *patroni) config(node string) string { return filepath.Join(p.dir, node+".json") }

// node starts Patroni on a host, with its defaults, and with it PostgreSQL. It is no
// child of the test's: it ends with the host.
func (p *patroni) node(node string) {
	p.t.Helper()
	address := hosts[node]
	users := map[string]any{}
	for role, name := range map[string]string{"superuser": "postgres", "replication": "replicator", "rewind": "rewinder"} {
		users[role] = map[string]any{"username": name, "password": "p"}
	}
	conf, err := json.Marshal(map[string]any{
		"scope": "batman", "name": node,
		"restapi": map[string]any{"listen": address + ":8008", "connect_address": address + ":8008"},
		"consul":  map[string]any{"host": p.agent[node], "register_service": true},
		"bootstrap": map[string]any{
			"dcs": map[string]any{"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "postgresql": map[string]any{
				"use_pg_rewind": true, "parameters": map[string]any{"shared_buffers": "16MB", "max_connections": 20},
			}},
			"initdb": []any{map[string]any{"encoding": "UTF8"}, "data-checksums"},
			"pg_hba": []string{"local all all trust", "host all all 10.99.0.0/24 trust", "host replication all 10.99.0.0/24 trust"},
		},
		"postgresql": map[string]any{
			"listen": address + ":5432", "connect_address": address + ":5432", "bin_dir": p.bin,
			"data_dir": filepath.Join(p.dir, node), "pgpass": filepath.Join(p.dir, node+".pgpass"), "authentication": users,
			"parameters": map[string]any{"unix_socket_directories": ""},
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	write(p.t, p.config(node), string(conf))
	log, err := os.OpenFile(filepath.Join(p.t.TempDir(), node+".log"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	line := append(p.in(node), "setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "patroni", p.config(node))
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, p.dir
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	p.t.Cleanup(func() {
		p.killAll(node, 0)
		<-ended
		if data, err := os.ReadFile(log.Name()); err == nil && p.t.Failed() {
			p.t.Logf("log of Patroni on %s:\n%s", node, data[max(0, len(data)-8000):])
		}
		log.Close()
	})
}

// kill ends Patroni and PostgreSQL of a node without a warning.
func (p *patroni) kill(node string) { p.killAll(node, p.writers[node]) }

// killAll ends what runs on a host, but for one process.
func (p *patroni) killAll(host string, but int) {
	for range 3 { // what was started meanwhile is met by the next round
		out, _ := exec.Command("ip", "netns", "pids", p.name+host).Output()
		for _, field := range strings.Fields(string(out)) {
			if pid, err := strconv.Atoi(field); err == nil && pid != but {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// ctl runs patronictl on a host that is never cut off.
func (p *patroni) ctl(args ...string) string {
	p.t.Helper()
	out, err := p.tryCtl(args...)
	if err != nil {
		p.t.Fatalf("patronictl %v: %v", args, err)
	}
	return out
}

func (p *patroni) tryCtl(args ...string) (string, error) {
	line := append(append(p.in("b"), "patronictl", "-c", p.config("b")), args...)
	cmd := exec.Command(line[0], line[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, out, stderr.String())
	}
	return string(out), err
}

// streams waits until a node is a replica that follows the primary.
func (p *patroni) streams(node string) {
	p.t.Helper()
	p.await(node+" as a replica", func() error {
		out, err := p.tryCtl("list", "-f", "json", "batman")
		if err != nil {
			return err
		}
		var members []struct {
			Member, Role, State string
			TL                  int // its timeline
		}
		if err := json.Unmarshal([]byte(out), &members); err != nil {
			return fmt.Errorf("%w in %s", err, out)
		}
		leads, follows := 0, 0
		for _, m := range members {
			switch {
			case m.Role == "Leader" && m.State == "running" && m.Member != node:
				leads = m.TL
			case m.Role == "Replica" && m.Member == node && (m.State == "streaming" || m.State == "running"):
				follows = m.TL
			}
		}
		// One that was a primary runs before it has gone back to where the new one began.
		if leads == 0 || leads != follows {
			return errors.New(out)
		}
		return nil
	})
}

// writing inserts a row every 20 ms, on one connection as long as it lasts, and says
// when each that was accepted began and ended.
const writing = `
import psycopg2, sys, time
c = None
while True:
    begun = time.monotonic()
    try:
        if c is None:
            c = psycopg2.connect(host=sys.argv[1], user="postgres", dbname="postgres", connect_timeout=2, options="-c statement_timeout=2000")
            c.autocommit = True
            q = c.cursor()
            q.execute("select pg_is_in_recovery()")
            if q.fetchone()[0]:
                raise Exception("a replica")
            q.execute("create table if not exists accepted (at timestamptz default now())")
        q.execute("insert into accepted default values")
        print(begun, time.monotonic(), flush=True)
        time.sleep(.02)
    except Exception:
        if c is not None:
            c.close()
        c = None
        time.sleep(.1)
`

// writer writes to a node until the test ends, from the node's own host.
func (p *patroni) writer(node string) {
	p.t.Helper()
	line := append(p.in(node), python, "-c", writing, hosts[node])
	cmd := exec.Command(line[0], line[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.writers[node] = cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var begun, end float64
			if _, err := fmt.Sscan(lines.Text(), &begun, &end); err == nil {
				p.mu.Lock()
				p.writes = append(p.writes, acceptance{node, time.Duration(begun * 1e9), time.Duration(end * 1e9)})
				p.mu.Unlock()
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
}

func (p *patroni) step(what string) {
	p.t.Helper()
	p.t.Logf("%s, after %d and %d writes to a and b", what, p.accepted("a"), p.accepted("b"))
}

// accepted is how many writes a node has accepted.
func (p *patroni) accepted(node string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.writes {
		if w.node == node {
			n++
		}
	}
	return n
}

// accepts waits until a node has accepted more writes than before.
func (p *patroni) accepts(node string, before int) {
	p.t.Helper()
	began := time.Now()
	p.await(node+" accepts writes", func() error {
		if p.accepted(node) <= before {
			return errors.New("it accepted none")
		}
		return nil
	})
	p.t.Logf("%s accepts writes after %v", node, time.Since(began).Round(100*time.Millisecond))
}

// judge fails the test unless the nodes accepted writes one after the other, with so
// many changes from one to the other.
func (p *patroni) judge(changes int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.writes, func(a, b acceptance) int { return cmp.Compare(a.begun, b.begun) })
	got := 0
	var faults []string
	for i, w := range p.writes {
		if i == 0 || p.writes[i-1].node == w.node {
			continue
		}
		if got++; got > 2*changes {
			continue // enough is told
		}
		last := p.writes[i-1]
		p.t.Logf("%s accepted its last write %v before %s began its first", last.node, (w.begun - last.end).Round(time.Millisecond), w.node)
		if w.begun < last.end {
			faults = append(faults, fmt.Sprintf("%s and %s accepted writes at once, for %v", last.node, w.node, last.end-w.begun))
		}
	}
	if got != changes {
		faults = append(faults, fmt.Sprintf("the writes went from one node to the other %d times, want %d: two accepted at once", got, changes))
	}
	if len(p.writes) < 500 {
		faults = append(faults, fmt.Sprintf("%d writes were accepted: that was no load", len(p.writes)))
	}
	if len(faults) > 0 {
		p.needsClock()
		p.t.Error(strings.Join(faults, "\n"))
	}
}
