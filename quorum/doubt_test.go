package quorum

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// However often what is in flight is doubted, and thus sent again, each change is made
// once.
func TestDoubtMakesNothingTwice(t *testing.T) {
	stores := openAll(t, peersFor(t, 3)...)
	l := loaded(t, 16, stores...)
	for l.total() < 3000 {
		for _, s := range stores {
			s.member.leads.fire(&s.member.leads.unsure)
		}
		time.Sleep(2 * time.Millisecond)
	}
	l.check(t, stores[0])
	found, repeated := 0.0, 0.0
	for _, s := range stores {
		found += value(s.metrics.found)
		repeated += value(s.metrics.repeated)
	}
	if found == 0 || repeated == 0 {
		t.Errorf("%v were found to be made and %v were made again: the test shows nothing", found, repeated)
	}
	t.Logf("%d writes; %v were found to be made, %v were sent again", l.total(), found, repeated)
}

// The answer that is worked out from the history is the one that was lost.
func TestALostAnswerIsWorkedOut(t *testing.T) {
	s := openAll(t, peersFor(t, 3)...)[0]
	fillKeys(t, s, "k/", 3)
	g := s.generation.Load()
	now := s.Snapshot()
	at := func(key string, revision int64) clientv3.Cmp {
		return clientv3.Compare(clientv3.ModRevision(g.prefix+key), "=", revision)
	}
	below := func(prefix string, revision int64) clientv3.Cmp {
		return clientv3.Compare(clientv3.ModRevision(g.prefix+prefix), "<", revision).WithPrefix()
	}
	is := g.revision(now.Get("k/000000").Modified)
	set := []clientv3.Op{clientv3.OpPut(g.prefix+"k/000000", "")}
	for name, p := range map[string]*proposal{
		"made":            {[]clientv3.Cmp{s.counts(g), at("k/000000", is), at("no", 0)}, set},
		"a key changed":   {[]clientv3.Cmp{s.counts(g), at("k/000001", is-1)}, set},
		"a key came":      {[]clientv3.Cmp{at("no", 5)}, set},
		"a range":         {[]clientv3.Cmp{below("k/", is+1), below("none/", 1)}, nil},
		"a range changed": {[]clientv3.Cmp{below("k/", is)}, nil},
		"nested": {[]clientv3.Cmp{s.counts(g)}, []clientv3.Op{
			clientv3.OpTxn([]clientv3.Cmp{at("k/000001", is)}, []clientv3.Op{clientv3.OpDelete(g.prefix + "k/000001")}, nil),
			clientv3.OpTxn([]clientv3.Cmp{at("k/000002", is-1)}, []clientv3.Op{clientv3.OpDelete(g.prefix + "k/000002")}, nil),
			clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(g.prefix+"new", "")}, nil),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			one, err := s.slots.take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer s.slots.give(one)
			for _, removes := range []bool{false, true} {
				d := &decision{s: s, slot: one, proposal: p, token: s.slots.token(), removes: removes, attempts: make(chan attempt)}
				if ours, err := s.look(t.Context(), one, d.token); err != nil || ours {
					t.Fatalf("before: ours %v, %v", ours, err)
				}
				was := one.revision
				d.send(t.Context())
				told := <-d.attempts
				if told.err != nil || !told.r.Succeeded {
					t.Fatalf("sent: %+v", told)
				}
				if ours, err := s.look(t.Context(), one, d.token); err != nil || ours == removes || removes && one.revision != 0 {
					t.Fatalf("after: ours %v at %d, %v", ours, one.revision, err)
				}
				moved, err := d.movedAt(t.Context(), was)
				if err != nil {
					t.Fatal(err)
				}
				worked, err := d.history(t.Context(), moved)
				want := d.evaluated(told.r)
				if err != nil || worked.made != want.made || worked.revision != want.revision {
					t.Errorf("worked out %+v, %v; etcd said %+v", worked, err, want)
				}
				if name == "nested" && !slices.Equal(worked.nested, want.nested) {
					t.Errorf("worked out %v; etcd said %v", worked.nested, want.nested)
				}
			}
		})
	}
}

const memberConfig = "QUORUM_MEMBER"

// TestHelperMember is a process with one member, for tests that stop or kill it.
func TestHelperMember(t *testing.T) {
	text := os.Getenv(memberConfig)
	if text == "" {
		t.Skip("only for tests that start it")
	}
	var cfg Embedded
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	if _, err := Open(context.Background(), cfg); err != nil {
		fmt.Println("cannot open:", err)
		os.Exit(1)
	}
	fmt.Println("open")
	bufio.NewReader(os.Stdin).ReadByte() // until the test ends
	os.Exit(0)
}

// process is a member in a process of its own.
type process struct {
	cmd  *exec.Cmd
	open chan string
}

func startProcess(t *testing.T, cfg Embedded) *process {
	t.Helper()
	cfg.Log = nil
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^TestHelperMember$"), open: make(chan string, 1)}
	p.cmd.Env = append(os.Environ(), memberConfig+"="+string(text))
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		p.open <- line
	}()
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGCONT)
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return p
}

// leadAway opens a cluster of three, of which the first is a process that leads.
func leadAway(t *testing.T) (*process, []*Store) {
	t.Helper()
	configs := peersFor(t, 3)
	away := startProcess(t, configs[0])
	stores := openAll(t, configs[1:]...)
	if line := <-away.open; line != "open\n" {
		t.Fatalf("the process says %q", line)
	}
	eventually(t, "the process leads", func() bool {
		for _, s := range stores {
			ms := membersOf(t, s)
			if leader, ok := ms.Leader(); ok && leader.Name == "a" {
				return true
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = ms.TransferLeadership(ctx, "a") // only the leader can
			cancel()
		}
		return false
	})
	return away, stores
}

// A leader that hangs and wakes up may send on what it was sent before: nothing is made
// twice, and no write waits for it.
func TestALeaderThatHangsUnderLoad(t *testing.T) {
	away, stores := leadAway(t)
	l := loaded(t, 16, stores...)
	hung := func(what string, signal syscall.Signal, more int) {
		t.Helper()
		began := l.total()
		if err := away.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		eventually(t, what, func() bool { return l.total() > began+more })
	}
	eventually(t, "the load is there", func() bool { return l.total() > 500 })
	l.reset()
	hung("writes go on while it hangs", syscall.SIGSTOP, 2000)
	gaps, slow := l.pauses()
	hung("writes go on when it wakes up", syscall.SIGCONT, 1000)
	l.check(t, stores[0])
	t.Logf("no finished write for %v and %v; the slowest took %v", gaps[stores[0]].Round(time.Millisecond), gaps[stores[1]].Round(time.Millisecond), slow.Round(time.Millisecond))
	if slow > answeredBy {
		t.Errorf("the slowest write took %v", slow)
	}
}

// A leader that is killed with its whole process loses no acknowledged write.
func TestALeaderThatIsKilledUnderLoad(t *testing.T) {
	away, stores := leadAway(t)
	l := loaded(t, 16, stores...)
	eventually(t, "the load is there", func() bool { return l.total() > 500 })
	l.reset()
	before := l.total()
	if err := away.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writes go on", func() bool { return l.total() > before+2000 })
	l.check(t, stores[0])
	t.Logf("no finished write for %v and %v; the slowest took %v", l.gap[stores[0]].Round(time.Millisecond), l.gap[stores[1]].Round(time.Millisecond), l.slow.Round(time.Millisecond))
	if l.slow > answeredBy {
		t.Errorf("the slowest write took %v", l.slow)
	}
}

// An error that is etcd's last word is told at once when nothing else of the proposal is
// under way, and not while an earlier sending may still be made.
func TestAFinalErrorIsToldOnlyWhenItIsTheOnlyAnswer(t *testing.T) {
	s := openAll(t, peersFor(t, 3)...)[0]
	gone := &proposal{operations: []clientv3.Op{clientv3.OpPut("x", "", clientv3.WithLease(12345))}}
	if _, err := s.propose(t.Context(), gone); !final(err) {
		t.Fatalf("a lease that is not there: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	one, err := s.slots.take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.slots.give(one)
	d := &decision{s: s, slot: one, proposal: gone, token: s.slots.token(), attempts: make(chan attempt), open: 1}
	if _, err := d.reach(ctx); final(err) || err == nil {
		t.Errorf("with an attempt in doubt: %v", err)
	}
	if one.known {
		t.Error("the slot counts as known")
	}
}
