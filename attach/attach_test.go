package attach_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/attach"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/registry"
)

const owner = skerry.OwnerID("agent/web1")

// server is a registry of its own, to which streams lead.
type server struct {
	*registry.Registry
	table *catalog.Table

	mu      sync.Mutex
	silent  bool // it takes frames and answers none
	down    bool
	dials   int
	slow    time.Duration // until it answers
	wholes  int           // announcements with the whole set
	bases   []uint64      // the numbers of the versions that changes came on top of
	streams []*stream
}

func newServer(ctx context.Context, name string, judge registry.Judge, running *sync.WaitGroup) *server {
	s := &server{table: catalog.New(catalog.Config{})}
	s.Registry = registry.New(registry.Config{
		Self: cluster.ServerID(name), Life: cluster.Life(time.Now().UnixMilli()), Members: []cluster.ServerID{cluster.ServerID(name)}, Of: 1,
		Table: s.table, Judge: judge, Rand: rand.New(rand.NewPCG(1, 1)), Log: slog.New(slog.DiscardHandler),
	})
	running.Go(func() { s.Run(ctx) })
	return s
}

// set changes how the server is. One that is down ends its streams.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if s.down {
		for _, one := range s.streams {
			one.Close()
		}
		s.streams = nil
	}
}

// stream is a stream to a server in this process.
type stream struct {
	s       *server
	answers chan []byte
	ended   chan struct{}
	once    sync.Once
	speaker *registry.Speaker
}

func (s *server) dial() (attach.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.down {
		return nil, errors.New("connection refused")
	}
	one := &stream{s: s, answers: make(chan []byte, 64), ended: make(chan struct{}), speaker: s.Speaker(owner, "web1")}
	s.streams = append(s.streams, one)
	return one, nil
}

func (s *stream) Send(frame []byte) error {
	select {
	case <-s.ended:
		return io.ErrClosedPipe
	default:
	}
	s.s.mu.Lock()
	silent := s.s.silent
	if bytes.Contains(frame, []byte(`"Set":{`)) {
		s.s.wholes++
	}
	slow := s.s.slow
	if base := regexp.MustCompile(`"Base":{"epoch":\d+,"seq":(\d+)}`).FindSubmatch(frame); base != nil && bytes.Contains(frame, []byte(`"Delta":{`)) {
		n, _ := strconv.ParseUint(string(base[1]), 10, 64)
		s.s.bases = append(s.s.bases, n)
	}
	s.s.mu.Unlock()
	if silent {
		return nil
	}
	answer, err := s.speaker.Hear(frame)
	if err != nil {
		return err
	}
	if slow > 0 {
		time.AfterFunc(slow, func() { s.answers <- answer })
		return nil
	}
	s.answers <- answer
	return nil
}

func (s *stream) Receive() ([]byte, error) {
	select {
	case frame := <-s.answers:
		return frame, nil
	case <-s.ended:
		return nil, io.EOF
	}
}

func (s *stream) Close() { s.once.Do(func() { close(s.ended) }) }

// source is an owner whose set has one instance, of the port Seq.
type source struct {
	mu      sync.Mutex
	version skerry.Version
}

func (s *source) Whole() (skerry.Version, uint64, *skerry.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := &skerry.Set{
		Node:      &skerry.Node{Name: "web1", Address: "10.0.0.1"},
		Instances: []*skerry.Instance{{ID: "web", Service: "web", Port: int(s.version.Seq), Weights: skerry.Weights{Passing: 1, Warning: 1}}},
	}
	return s.version, set.Digest(), set
}

// change makes the next version.
func (s *source) change(to skerry.Outbox) {
	s.mu.Lock()
	base := s.version
	s.version.Seq++
	s.mu.Unlock()
	v, digest, set := s.Whole()
	to.Changed(v, base, skerry.Delta{Instances: set.Instances}, digest)
}

// world is an agent and two servers.
type world struct {
	t       *testing.T
	servers map[string]*server
	from    *source
	box     skerry.Outbox
	a       *attach.Attachment
	log     bytes.Buffer // written by the agent alone
}

func run(t *testing.T, test func(w *world)) {
	t.Helper()
	runJudged(t, nil, nil, test)
}

// runJudged is run with servers that judge by the tokens of grants.
func runJudged(t *testing.T, judge registry.Judge, grants func([]*skerry.Instance) *cluster.Grants, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		w := &world{t: t, servers: map[string]*server{}, from: &source{version: skerry.Version{Epoch: 100, Seq: 1}}}
		for _, name := range []string{"s1", "s2"} {
			w.servers[name] = newServer(ctx, name, judge, &running)
		}
		w.a = attach.New(attach.Config{
			Join: []string{"s1", "s2"}, RetryEvery: 10 * time.Second, Grants: grants, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
			Ask:  func(_ context.Context, address string) (string, error) { return address, nil },
			Dial: func(_ context.Context, address string) (attach.Stream, error) { return w.servers[address].dial() },
		})
		w.box = w.a.Carry(owner, skerry.AgentOwner, 0, w.from)
		running.Go(func() { w.a.Run(ctx) })
		test(w)
	})
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// port returns the port that a server shows; 0: none.
func (w *world) port(at string) int {
	for _, e := range w.servers[at].table.Service("web").Entries {
		return e.Instance.Port
	}
	return 0
}

// home returns the server that the agent is attached to, and the other one.
func (w *world) home() (home, other string) {
	w.t.Helper()
	home, other = w.a.State().Server, "s2"
	if home == "s2" {
		other = "s1"
	}
	if home == "" {
		w.t.Fatal("the agent is attached to no server")
	}
	return home, other
}

func TestChangesReachTheServer(t *testing.T) {
	run(t, func(w *world) {
		w.pass(200 * time.Millisecond)
		home, _ := w.home()
		for n := 1; n < 50; n++ {
			if got := w.port(home); got != n {
				t.Fatalf("after %d changes the server shows %d", n, got)
			}
			w.from.change(w.box)
			w.pass(10 * time.Millisecond)
		}
		if n := w.servers[home].wholes; n != 1 {
			t.Errorf("the whole set was sent %d times", n)
		}
		w.pass(time.Minute)
		if w.port(home) != 50 || !w.a.State().Settled {
			t.Errorf("after a minute the server shows %d, %+v", w.port(home), w.a.State())
		}
	})
}

// Changes come faster than answers: each announcement has those since the one before, and is sent when that is answered.
func TestChangesFasterThanAnswers(t *testing.T) {
	run(t, func(w *world) {
		w.pass(200 * time.Millisecond)
		home, _ := w.home()
		s := w.servers[home]
		s.set(func() { s.slow = 5 * time.Millisecond })
		for n := 1; n < 300; n++ {
			w.from.change(w.box)
			w.pass(time.Millisecond)
			if behind := n + 1 - w.port(home); behind > 12 {
				t.Fatalf("after %d changes the server is %d behind", n, behind)
			}
		}
		w.pass(time.Second)
		s.set(func() {
			if s.wholes != 1 {
				t.Errorf("the whole set was sent %d times", s.wholes)
			}
			if !slices.IsSorted(s.bases) || len(slices.Compact(s.bases)) < 20 {
				t.Errorf("changes came on top of the versions %v", s.bases)
			}
		})
	})
}

func TestASilentOrDeadServerIsLeft(t *testing.T) {
	for name, fails := range map[string]func(*server){
		"silent": func(s *server) { s.silent = true },
		"dead":   func(s *server) { s.down = true },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.pass(time.Second)
				home, other := w.home()
				w.servers[home].set(func() { fails(w.servers[home]) })
				w.pass(4 * time.Second)
				if now, _ := w.home(); now != other || w.port(other) != 1 {
					t.Errorf("attached to %s, which shows %d", now, w.port(other))
				}
				w.from.change(w.box)
				w.pass(100 * time.Millisecond)
				if w.port(other) != 2 {
					t.Errorf("a change shows %d", w.port(other))
				}
			})
		})
	}
}

func TestWithoutAServerItIsTriedAgain(t *testing.T) {
	run(t, func(w *world) {
		for _, s := range w.servers {
			s.set(func() { s.down = true })
		}
		w.pass(time.Minute)
		if s := w.a.State(); s.Server != "" || s.Settled {
			t.Errorf("both are down: %+v", s)
		}
		for name, s := range w.servers {
			if s.dials < 8 || s.dials > 30 {
				t.Errorf("%s was dialled %d times in a minute", name, s.dials)
			}
		}
		w.from.change(w.box)
		w.servers["s2"].set(func() { w.servers["s2"].down = false })
		w.pass(10 * time.Second)
		if now, _ := w.home(); now != "s2" || w.port("s2") != 2 {
			t.Errorf("attached to %s, which shows %d", now, w.port("s2"))
		}
	})
}

// A server knows the owner at a later epoch, of a time when this host's clock was ahead: the owner goes on
// above it, also with its next changes.
func TestAnOwnerGoesAboveALaterEpoch(t *testing.T) {
	run(t, func(w *world) {
		for _, s := range w.servers {
			set := &skerry.Set{Node: &skerry.Node{Name: "web1", Address: "10.0.0.1"}}
			_, err := s.Announce(skerry.Announcement{
				Owner: owner, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: skerry.Version{Epoch: 5000, Seq: 9}, Digest: set.Digest(), Set: set,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		w.pass(2 * time.Second)
		home, _ := w.home()
		if w.port(home) != 1 {
			t.Errorf("the server shows %d", w.port(home))
		}
		w.from.change(w.box)
		w.pass(time.Second)
		if w.port(home) != 2 {
			t.Errorf("after a change the server shows %d", w.port(home))
		}
	})
}

func TestAWithdrawalArrives(t *testing.T) {
	run(t, func(w *world) {
		w.pass(time.Second)
		home, _ := w.home()
		if err := w.a.Withdraw(w.t.Context()); err != nil || w.port(home) != 0 {
			t.Errorf("withdrawn: %v, the server shows %d", err, w.port(home))
		}
		w.from.change(w.box)
		w.pass(time.Minute)
		if w.port(home) != 0 {
			t.Errorf("after a change the server shows %d", w.port(home))
		}
	})
}

func TestAWithdrawalWithoutAServerEndsWithItsContext(t *testing.T) {
	run(t, func(w *world) {
		for _, s := range w.servers {
			s.set(func() { s.down = true })
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		if err := w.a.Withdraw(ctx); err == nil {
			t.Error("a withdrawal that no server took has arrived")
		}
	})
}
