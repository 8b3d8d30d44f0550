//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// demo is everything that was started.
type demo struct {
	ctx      context.Context
	dir      string
	address  string // of the registry
	at       [servers]string
	registry *process
	servers  [servers]*process
	caller   *process

	mu     sync.Mutex
	lines  int // that the caller has printed
	counts counts
}

// counts are the caller's printed counts of a phase.
type counts struct {
	calls, failed int
	p99           time.Duration // the worst of the lines
}

var line = regexp.MustCompile(`(\d+) calls, (\d+) failed, p50 \S+, p99 (\S+)  `)

// hear takes a line of the caller in.
func (d *demo) hear(text string) {
	m := line.FindStringSubmatch(text)
	if m == nil {
		if strings.Contains(text, "the last failure: ") {
			fmt.Println("     ", strings.TrimSpace(text))
		}
		return
	}
	calls, _ := strconv.Atoi(m[1])
	failed, _ := strconv.Atoi(m[2])
	p99, _ := time.ParseDuration(m[3])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines++
	d.counts = counts{calls: d.counts.calls + calls, failed: d.counts.failed + failed, p99: max(d.counts.p99, p99)}
}

// run walks through the phases, and reports whether more calls failed than promised.
func run(ctx context.Context) (broken bool, err error) {
	dir, err := os.MkdirTemp("", "skerry-demo-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	d := &demo{ctx: ctx, dir: dir}
	defer d.end()
	if err := d.begin(); err != nil {
		return false, err
	}
	calls, failed, promised := 0, 0, 0
	for n, p := range phases {
		fmt.Printf("%d. %s\n", n+1, p.text)
		began := time.Now()
		if err := p.run(d); err != nil {
			return false, fmt.Errorf("%s: %w", p.text, err)
		}
		c, err := d.settle()
		if err != nil {
			return false, err
		}
		fmt.Printf("      %d calls, %d failed (promised: %s), p99 %v in the worst second\n", c.calls, c.failed, most(p.promise), c.p99)
		if due := int(time.Since(began).Seconds() * rate); c.calls < due*3/4 {
			fmt.Printf("      (%d calls were due: this machine is too busy for promises)\n", due)
		}
		calls, failed, promised = calls+c.calls, failed+c.failed, promised+p.promise
		broken = broken || c.failed > p.promise
	}
	fmt.Printf("in all %d calls, %d failed (promised: %s)\n", calls, failed, most(promised))
	return broken, nil
}

func most(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d at most", n)
}

// begin builds the programs and starts a registry, the servers and a caller.
func (d *demo) begin() error {
	fmt.Println("building skerry and the time service …")
	build := exec.CommandContext(d.ctx, "go", "build", "-o", d.dir, "./cmd/skerry", "./examples/timeservice/server", "./examples/timeservice/client")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build (run this in the root of the repository): %w\n%s", err, out)
	}
	free, err := addresses(1 + servers)
	if err != nil {
		return err
	}
	d.address = free[0]
	copy(d.at[:], free[1:])
	if err := d.startRegistry(); err != nil {
		return err
	}
	for n := range servers {
		if err := d.serve(n); err != nil {
			return err
		}
	}
	d.caller, err = d.launch("client", d.hear, "-registry", "skerry://"+d.address, "-rate", strconv.Itoa(rate))
	if err != nil {
		return err
	}
	fmt.Println("a call fails when it has no answer in 2 s; until then it is made again at another server if one fails it as UNAVAILABLE, and sent to a second one after 100 ms")
	fmt.Printf("a registry, %d servers and a caller with %d calls a second run\n", servers, rate)
	return d.await("calls", func() bool { return d.printed() > 1 })
}

// addresses returns free ones of loopback.
func addresses(n int) (out []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

func (d *demo) startRegistry() (err error) {
	_, port, _ := net.SplitHostPort(d.address)
	d.registry, err = d.launch("skerry", nil, "agent", "-dev", "-http-port", port, "-dns-port", "-1", "-log-level", "warn")
	if err != nil {
		return err
	}
	return d.await("the registry", func() bool {
		conn, err := net.DialTimeout("tcp", d.address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// start starts a server, and serve waits until it is registered.
func (d *demo) start(n int) (err error) {
	d.servers[n], err = d.launch("server", nil, "-registry", "skerry://"+d.address, "-listen", d.at[n], "-faulty")
	if err != nil {
		return err
	}
	return d.await("a server", func() bool { return strings.Contains(d.servers[n].said(), "serves gRPC") })
}

func (d *demo) serve(n int) error {
	if err := d.start(n); err != nil {
		return err
	}
	return d.await("a server's registration", d.servers[n].registered)
}

// settle waits until every call of the phase has ended and been printed, and returns
// the counts since the last time.
func (d *demo) settle() (counts, error) {
	if err := d.sleep(settled); err != nil {
		return counts{}, err
	}
	next := d.printed() + 1
	if err := d.await("the caller's next line", func() bool { return d.printed() >= next }); err != nil {
		return counts{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts
	d.counts = counts{}
	return c, nil
}

func (d *demo) printed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lines
}

func (d *demo) sleep(t time.Duration) error {
	select {
	case <-d.ctx.Done():
		return d.ctx.Err()
	case <-time.After(t):
		return nil
	}
}

func (d *demo) await(what string, is func() bool) error {
	for end := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(end) {
			return errors.New("waited 20 s in vain for " + what)
		}
		if err := d.sleep(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// end ends the started programs, each by its process: the servers withdraw.
func (d *demo) end() {
	var all sync.WaitGroup
	for _, p := range append(d.servers[:], d.caller) {
		all.Go(func() { p.stop() })
	}
	all.Wait()
	d.registry.stop()
}
