package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// rolling is time services at an agent of three servers, and callers that never make a call twice.
type rolling struct {
	t              *testing.T
	server, caller string // the programs
	urls           []string
	find           []string
	drain          string
	instances      []*instanceOf
	callers        []*callerOf
}

// instanceOf is a server with gRPC and HTTP.
type instanceOf struct {
	url, grpc, web string
	cmd            *exec.Cmd
	output         func() string
}

type callerOf struct {
	cmd    *exec.Cmd
	output func() string
}

// startRolling starts the servers of the cluster, its agent, and the instances.
func startRolling(t *testing.T, instances int, drain string) *rolling {
	t.Helper()
	all, at := servers(t, 3)
	a := joined(t, "web1", at)
	r := &rolling{
		t: t, server: program.Build(t, ".", "./examples/timeservice/server"), caller: program.Build(t, ".", "./examples/timeservice/client"), drain: drain,
		urls: []string{"consul://" + a.http, "skerry://" + a.http},
		find: []string{"skerry://" + a.http, "skerry://" + all[0].http + "," + all[1].http + "," + all[2].http},
	}
	for n := range instances {
		i := &instanceOf{url: r.urls[n%2], grpc: local(program.Port(t)), web: local(program.Port(t))}
		r.instances = append(r.instances, i)
		r.start(i)
	}
	for _, i := range r.instances {
		r.registered(i)
	}
	return r
}

func (r *rolling) start(i *instanceOf) {
	i.cmd, i.output = sample(r.t, nil, r.server, "-registry", i.url, "-listen", i.grpc, "-http", i.web, "-drain", r.drain)
}

func (r *rolling) registered(i *instanceOf) {
	r.t.Helper()
	await(r.t, "the registrations", func() error {
		if out := i.output(); strings.Count(out, "registered=true") != 2 {
			return fmt.Errorf("in %s", out)
		}
		return nil
	})
}

// call starts callers, gRPC and HTTP in turns, at the agent and at the servers.
func (r *rolling) call(callers, rate, calls int) {
	r.t.Helper()
	for n := range callers {
		cmd, output := sample(r.t, []string{"SKERRY_CACHE_DIR="}, r.caller, "-once", "-registry", r.find[n/2%2], fmt.Sprint("-http=", n%2 == 1), "-rate", fmt.Sprint(rate), "-calls", fmt.Sprint(calls))
		r.callers = append(r.callers, &callerOf{cmd, output})
	}
	for _, c := range r.callers {
		says(r.t, c.output, fmt.Sprintf("%d instances, live", len(r.instances)))
	}
}

// restart ends an instance and starts it again where it was, and returns how long the end took.
func (r *rolling) restart(i *instanceOf) time.Duration {
	r.t.Helper()
	began := time.Now()
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	awaitFor(r.t, 2*patience, "the end of an instance", func() error {
		if i.cmd.Process.Signal(syscall.Signal(0)) == nil {
			return fmt.Errorf("it runs still: %s", i.output())
		}
		return nil
	})
	took := time.Since(began)
	if n := strings.Count(i.output(), "has drained: all readers"); r.drain != "0" && n != 2 {
		r.t.Errorf("%d of 2 drains were safe: %s", n, i.output())
	}
	r.start(i)
	r.registered(i)
	return took
}

var inAll = regexp.MustCompile(`in all (\d+) calls, (\d+) failed`)

// ended reports whether the callers have made all their calls.
func (r *rolling) ended() bool {
	for _, c := range r.callers {
		if !inAll.MatchString(c.output()) {
			return false
		}
	}
	return true
}

// count waits for the end of the callers, and returns their calls.
func (r *rolling) count() (calls, failed int) {
	r.t.Helper()
	for _, c := range r.callers {
		says(r.t, c.output, "in all ")
		var n, bad int
		fmt.Sscanf(inAll.FindString(c.output()), "in all %d calls, %d failed", &n, &bad)
		calls, failed = calls+n, failed+bad
		if bad > 0 && r.drain != "0" {
			r.t.Errorf("a caller: %s", failures(c.output()))
		}
	}
	return calls, failed
}

// failures returns the lines of a caller that tell of failed calls.
func failures(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if strings.Contains(line, "the last failure") || strings.Contains(line, "calls, ") && !strings.Contains(line, " 0 failed") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Instances that are restarted one after another, by agents and by leases, fail no call of callers that make none
// twice, by gRPC and HTTP, at an agent and at servers.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	r := startRolling(t, 6, "30s")
	r.call(4, 200, 0)
	for n, i := range r.instances {
		t.Logf("instance %d ended in %v", n, r.restart(i).Round(time.Millisecond))
	}
	for _, c := range r.callers {
		c.cmd.Process.Signal(os.Interrupt)
	}
	calls, failed := r.count()
	t.Logf("%d calls, %d failed", calls, failed)
	if calls < 1000 || failed != 0 {
		t.Errorf("%d of %d calls failed", failed, calls)
	}
}

// The long form, with SKERRY_ROLLING=1000000 calls and a timeout of an hour: 20 instances are restarted in turns while
// 10 callers make so many calls, with a drain and without.
func TestRollingRestartsOverManyCalls(t *testing.T) {
	want, err := strconv.Atoi(os.Getenv("SKERRY_ROLLING"))
	if err != nil {
		t.Skip("it takes long: SKERRY_ROLLING=1000000 runs it with so many calls")
	}
	for _, drain := range []string{"30s", "0"} {
		t.Run("drain "+drain, func(t *testing.T) {
			r := startRolling(t, 20, drain)
			r.call(10, 300, want/10+1)
			restarts := 0
			for ; !r.ended(); restarts++ {
				r.restart(r.instances[restarts%len(r.instances)])
			}
			calls, failed := r.count()
			fmt.Printf("rolling restart with -drain %s: %d calls, %d failed, %d restarts\n", drain, calls, failed, restarts)
		})
	}
}
