//go:build linux

package storm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// A cluster of an earlier commit, STORM_UPGRADE_FROM, is upgraded under load, a process at a time: the servers and then the
// agents. Then it goes back, in the same order and in the other one. All promises of storms hold meanwhile.
func TestUpgrade(t *testing.T) {
	from := os.Getenv("STORM_UPGRADE_FROM")
	if from == "" {
		t.Skip("STORM_UPGRADE_FROM names no commit; see make upgrade-cluster")
	}
	before, now := binaryOf(t, from), program.Skerry(t)
	s := begin(t, options{servers: 3, agents: 3, binary: before})
	hosts := make([]int, len(s.servers)+len(s.agents))
	for n := range hosts {
		hosts[n] = n
	}
	s.swapAll("servers and then agents are upgraded", hosts, now)
	s.swapAll("servers and then agents go back", hosts, before)
	slices.Reverse(hosts)
	s.swapAll("agents and then servers are upgraded", hosts, now)
	s.swapAll("agents and then servers go back", hosts, before)
}

// binaryOf builds the binary of a commit.
func binaryOf(t *testing.T, commit string) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = program.Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	git("worktree", "add", "--detach", tree, commit)
	t.Cleanup(func() { git("worktree", "remove", "--force", tree) })
	binary := filepath.Join(t.TempDir(), "skerry")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/skerry")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build at %s: %v\n%s", commit, err, out)
	}
	return binary
}

// swapAll gives processes another binary under load, one after the other, and judges.
func (s *storm) swapAll(name string, hosts []int, binary string) {
	s.t.Helper()
	l := s.load(true)
	rest(s.ctx, 2*time.Second)
	for _, n := range hosts {
		s.swap(n, binary)
	}
	l.calm()
	s.judge(name, l, time.Now(), true, patient)
	s.setBack()
}

// swap ends a process in order, and starts it again with another binary. It returns when the cluster is whole, as
// an operator waits before the next one.
func (s *storm) swap(n int, binary string) {
	s.t.Helper()
	p := s.process(n)
	if !s.take(n) {
		return
	}
	defer s.giveBack(n)
	s.tell("%s gets another binary", p.name())
	s.record.mark(time.Now(), func(e *era) { e.out[n]++ })
	p.signal(syscall.SIGTERM)
	p.left(leavesWithin)
	p.binary = binary
	p.run()
	s.record.mark(time.Now(), func(e *era) { e.out[n]-- })
	err := program.Await(time.Minute, func() error { return errors.Join(p.ready(s.ctx), s.votes(len(s.servers))) })
	if err != nil {
		s.t.Errorf("after the change of %s: %v", p.name(), err)
	}
}
