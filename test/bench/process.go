package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

func build() (string, error) {
	dir, err := os.MkdirTemp("", "skerry-bench")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "skerry")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/skerryhq/skerry/cmd/skerry").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
}

// process is a server that was started for one measurement.
type process struct {
	cmd       *exec.Cmd
	args      []string
	http, dns string
	dir       string
	below     *process // the server of an agent
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	os.RemoveAll(p.dir)
	if p.below != nil {
		p.below.stop()
	}
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// server returns a durable server with an empty folder, which was not started.
func server(node, hcl string, more ...string) (*process, error) {
	dir, err := os.MkdirTemp("", "skerry-bench-data")
	if err != nil {
		return nil, err
	}
	httpPort, dnsPort := freePort(), freePort()
	p := &process{dir: dir, http: "127.0.0.1:" + strconv.Itoa(httpPort), dns: "127.0.0.1:" + strconv.Itoa(dnsPort)}
	p.args = append([]string{"agent", "-server", "-data-dir", dir, "-node", node, "-bind", "127.0.0.1",
		"-http-port", strconv.Itoa(httpPort), "-dns-port", strconv.Itoa(dnsPort), "-log-level", "error",
		"-hcl", "limits { http_max_conns_per_client = 19000 } " + hcl}, more...)
	return p, nil
}

// agent starts a durable agent in an empty folder and waits for its first answer.
func agent(ctx context.Context, bin string) (*process, time.Duration, error) {
	p, err := server("bench", "performance { raft_multiplier = 1 }", "-bootstrap-expect=1")
	if err != nil {
		return nil, 0, err
	}
	took, err := p.run(ctx, bin)
	return p, took, err
}

// restart kills the process and starts it again on the same folder.
func (p *process) restart(ctx context.Context, bin string) error {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	_, err := p.run(ctx, bin)
	return err
}

// run starts the process and waits for its first answer.
func (p *process) run(ctx context.Context, bin string) (time.Duration, error) {
	p.cmd = exec.CommandContext(ctx, bin, p.args...)
	p.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return 0, err
	}
	for {
		resp, err := http.Get("http://" + p.http + "/v1/status/leader")
		if err == nil {
			resp.Body.Close()
			return time.Since(began), nil
		}
		if time.Since(began) > 10*time.Second {
			p.stop()
			return 0, fmt.Errorf("the agent does not answer: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// coreDNS starts a CoreDNS that has the records of an answer in a zone file, and waits
// for its first answer.
func coreDNS(ctx context.Context, bin string, answer *dns.Msg) (*process, error) {
	dir, err := os.MkdirTemp("", "skerry-bench-coredns")
	if err != nil {
		return nil, err
	}
	port := freePort()
	p := &process{dir: dir, dns: "127.0.0.1:" + strconv.Itoa(port)}
	corefile, records := filepath.Join(dir, "Corefile"), filepath.Join(dir, "zone")
	if err := os.WriteFile(records, []byte(zone(answer)), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(corefile, fmt.Appendf(nil, "consul:%d {\n\tbind 127.0.0.1\n\tfile %s\n}\n", port, records), 0o600); err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(ctx, bin, "-quiet", "-conf", corefile)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		got, err := askDNS(p.dns, answer.Question[0].Qtype)
		if err == nil && len(got.Answer) == len(answer.Answer) {
			return p, nil
		}
		if time.Since(began) > 10*time.Second {
			p.stop()
			return nil, fmt.Errorf("no answer like ours within 10 s: %v, %v", got, err)
		}
	}
}

// bareServer starts this program as a bare server that writes body.
func bareServer(ctx context.Context, kind string, body []byte) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := "127.0.0.1:" + strconv.Itoa(freePort())
	p := &process{http: addr, dns: addr}
	p.cmd = exec.CommandContext(ctx, self, kind, addr)
	p.cmd.Stdin = bytes.NewReader(body)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		p.stop()
		return nil, fmt.Errorf("%s: %q %v", kind, line, err)
	}
	time.Sleep(100 * time.Millisecond) // ListenAndServe has no word for being ready
	return p, nil
}

// rss returns a process's resident memory in bytes.
func rss(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}
