package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/follow/cache"
	"github.com/skerryhq/skerry/follow/hub"
)

// world is servers with one table, and an agent that follows at one of them.
type world struct {
	t     *testing.T
	table *catalog.Table // of the servers
	own   *catalog.Table // of the agent
	cache *cache.Cache
	state atomic.Pointer[follow.State]

	mu      sync.Mutex
	down    bool
	silent  bool // the server takes streams and says nothing
	moved   bool // the agent follows at another server
	pipes   []*pipe
	seq     map[skerry.OwnerID]uint64
	settled chan struct{}
}

const self = "agent/app1"

// with runs a test in a bubble of time.
func with(t *testing.T, dir string, test func(*world)) { within(t, dir, false, test) }

func within(t *testing.T, dir string, down bool, test func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, down: down, table: catalog.New(catalog.Config{}), seq: map[skerry.OwnerID]uint64{}, settled: make(chan struct{})}
		w.state.Store(&follow.State{})
		close(w.settled)
		ctx, cancel := context.WithCancel(t.Context())
		server := hub.NewServer(hub.Config{
			Discovery: skerry.Discover(w.table), Ring: func(string) skerry.Position { return 1 << 30 }, State: func() follow.State { return *w.state.Load() }, Settled: w.settled, Log: slog.New(slog.DiscardHandler),
		})
		var done sync.WaitGroup
		done.Go(func() { server.Run(ctx) })
		stop := w.agent(ctx, dir, server)
		defer func() { stop(); cancel(); done.Wait() }()
		test(w)
	})
}

// agent starts the agent.
func (w *world) agent(ctx context.Context, dir string, server *hub.Server) (stop func()) {
	w.own = catalog.New(catalog.Config{})
	w.cache = cache.New(cache.Config{
		Own: w.own, Owner: self, Dir: dir, Log: slog.New(slog.DiscardHandler), MaxServices: 100,
		Pick: func(not ...string) (string, string, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			name := "s1"
			if w.moved {
				name = "s2"
			}
			return name, name + ":8300", len(not) == 0
		},
		Dial: func(context.Context, string) (cache.Stream, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.down {
				return nil, errors.New("no server is there")
			}
			p := newPipe()
			w.pipes = append(w.pipes, p)
			if w.silent {
				p.in <- follow.Encode(follow.Tell{State: &follow.State{}})
				return p, nil
			}
			go func() {
				server.Serve(ctx, "app1", p.other())
				p.Close()
			}()
			return p, nil
		},
	})
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { w.cache.Run(ctx) })
	synctest.Wait()
	return func() { cancel(); done.Wait() }
}

// cut ends all streams, and lets none begin while down.
func (w *world) cut(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for _, p := range w.pipes {
		p.Close()
	}
	w.pipes = nil
}

// put announces the whole set of an owner with instances of web.
func (w *world) put(at *catalog.Table, owner skerry.OwnerID, ids ...string) {
	w.t.Helper()
	set := &skerry.Set{Node: &skerry.Node{Name: strings.TrimPrefix(string(owner), "agent/"), Address: "10.0.0.1"}}
	for _, id := range ids {
		id, port, _ := strings.Cut(id, ":")
		i := &skerry.Instance{ID: id, Service: "Web", Tags: []string{"v" + port}}
		set.Instances = append(set.Instances, i)
		set.Checks = append(set.Checks, &skerry.Check{ID: "c-" + id, ServiceID: id, ServiceName: "Web", Status: skerry.Passing})
	}
	w.seq[owner]++
	v := skerry.Version{Epoch: 1, Seq: w.seq[owner]}
	if _, err := at.Announce(skerry.Announcement{Owner: owner, Kind: skerry.AgentOwner, Version: v, Set: set, Digest: set.Digest()}); err != nil {
		w.t.Fatal(err)
	}
	if at == w.own {
		w.cache.Changed(v, v, skerry.Delta{}, 0)
	}
}

// sees compares the agent's view of web with "node/id:tag" of each entry.
func (w *world) sees(want ...string) time.Duration {
	w.t.Helper()
	v, age, err := w.cache.Service(w.t.Context(), "web")
	if err != nil {
		w.t.Fatal(err)
	}
	if got := show(v); got != strings.Join(want, " ") {
		w.t.Errorf("the agent sees %q, want %q", got, want)
	}
	return age
}

func show(v *skerry.View) string {
	var out []string
	for _, e := range v.Entries {
		out = append(out, e.Node.Name+"/"+e.Instance.ID+":"+strings.TrimPrefix(e.Instance.Tags[0], "v"))
	}
	return strings.Join(out, " ")
}

// pipe is one end of a stream in memory.
type pipe struct {
	in, out chan []byte
	closed  chan struct{}
	once    *sync.Once
}

func newPipe() *pipe {
	return &pipe{make(chan []byte, 100), make(chan []byte, 100), make(chan struct{}), new(sync.Once)}
}

func (p *pipe) other() *pipe { return &pipe{p.out, p.in, p.closed, p.once} }

func (p *pipe) Send(frame []byte) error {
	select {
	case p.out <- frame:
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	}
}

func (p *pipe) Receive() ([]byte, error) {
	select {
	case frame := <-p.in:
		return frame, nil
	case <-p.closed:
		return nil, io.EOF
	}
}

func (p *pipe) Close() { p.once.Do(func() { close(p.closed) }) }

// Whatever changes and whenever streams end, an agent comes to the view of its server, and its waiters are woken.
func TestAnAgentComesToTheViewOfItsServer(t *testing.T) {
	for seed := range uint64(20) {
		with(t, "", func(w *world) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			w.put(w.table, "agent/n0", "a:0")
			w.sees("n0/a:0")
			for range 100 {
				index, changed := w.cache.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "WEB"})
				before := show(w.table.Service("web"))
				for range 1 + rnd.IntN(3) {
					var ids []string
					for n := range rnd.IntN(4) {
						ids = append(ids, fmt.Sprintf("%c:%d", 'a'+n, rnd.IntN(3)))
					}
					w.put(w.table, skerry.OwnerID(fmt.Sprint("agent/n", rnd.IntN(3))), ids...)
				}
				if rnd.IntN(5) == 0 {
					w.cut(false)
				}
				time.Sleep(time.Duration(1+rnd.IntN(20)) * time.Second)
				synctest.Wait()
				want := w.table.Service("web")
				if w.sees(strings.Fields(show(want))...) != 0 {
					w.t.Error("the answer is stale")
				}
				v, _, _ := w.cache.Service(w.t.Context(), "web")
				if v.Cause != want.Cause || fmt.Sprint(v.Names) != fmt.Sprint(want.Names) {
					w.t.Errorf("cause %q and names %v, want %q and %v", v.Cause, v.Names, want.Cause, want.Names)
				}
				for i, e := range v.Entries {
					if len(e.Checks) != 1 || e.Checks[0].ID != want.Entries[i].Checks[0].ID || e.Instance.Modified > v.Index || e.Instance.Created == 0 {
						w.t.Errorf("entry %+v with %+v", e, e.Instance.Stamp)
					}
				}
				if show(want) != before {
					select {
					case <-changed:
					default:
						w.t.Error("a waiter was not woken")
					}
					if v.Index <= index {
						w.t.Errorf("the index is %d after %d", v.Index, index)
					}
				}
			}
		})
	}
}

// The agent's own registrations are seen at once, and its withdrawals, whatever the server says; they wake waiters.
func TestTheOwnSetLiesOverTheServers(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.put(w.table, self, "x:1", "old:1")
		w.put(w.own, self, "x:2")
		w.sees("app1/x:2", "n1/a:1")
		index, changed := w.cache.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"})
		w.put(w.own, self, "x:2", "y:1")
		w.sees("app1/x:2", "app1/y:1", "n1/a:1")
		synctest.Wait()
		<-changed
		if now, _ := w.cache.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"}); now <= index {
			w.t.Errorf("the index is %d after %d", now, index)
		}
		w.put(w.own, self)
		w.sees("n1/a:1")
		w.put(w.table, "agent/n1")
		time.Sleep(time.Second)
		if v, _, _ := w.cache.Service(w.t.Context(), "web"); len(v.Entries) > 0 || v.Cause == skerry.CauseNone {
			w.t.Errorf("%d entries, cause %q", len(v.Entries), v.Cause)
		}
		// Nothing that changes elsewhere makes another view.
		v, _, _ := w.cache.Service(w.t.Context(), "web")
		w.cache.Changed(skerry.Version{}, skerry.Version{}, skerry.Delta{}, 0)
		if now, _, _ := w.cache.Service(w.t.Context(), "web"); now != v {
			w.t.Error("a change of another service made a new view")
		}
	})
}

// While no server can be reached, answers stay and become older. A service that is not known is an error at once.
func TestAnswersStayWhileNoServerIsThere(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.sees("n1/a:1")
		w.cut(true)
		time.Sleep(10 * time.Minute)
		if age := w.sees("n1/a:1"); age < 10*time.Minute || age > 10*time.Minute+time.Second {
			w.t.Errorf("the answer is %v old", age)
		}
		began := time.Now()
		if _, _, err := w.cache.Service(w.t.Context(), "other"); skerry.KindOf(err) != skerry.Unavailable || time.Since(began) > 0 {
			w.t.Errorf("an unknown service: %v after %v", err, time.Since(began))
		}
		w.put(w.table, "agent/n1", "a:1", "b:1")
		w.cut(false)
		time.Sleep(10 * time.Second)
		if age := w.sees("n1/a:1", "n1/b:1"); age != 0 {
			w.t.Errorf("the answer is %v old", age)
		}
	})
}

// The first question about a service waits for its view, for a second.
func TestTheFirstQuestionWaitsForTheView(t *testing.T) {
	with(t, "", func(w *world) {
		w.mu.Lock()
		w.silent = true
		w.mu.Unlock()
		w.cut(false)
		time.Sleep(time.Second)
		began := time.Now()
		if _, _, err := w.cache.Service(w.t.Context(), "web"); skerry.KindOf(err) != skerry.Unavailable || time.Since(began) != time.Second {
			w.t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// What has not changed while a stream was away costs a line, not a view.
func TestUnchangedViewsAreNotSentAgain(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.sees("n1/a:1")
		v, _, _ := w.cache.Service(w.t.Context(), "web")
		for range 3 {
			w.cut(false)
			time.Sleep(10 * time.Second)
			now, age, _ := w.cache.Service(w.t.Context(), "web")
			if now != v || age != 0 {
				w.t.Errorf("another view after a new stream, or an age of %v", age)
			}
		}
	})
}

// A server that started lately does not know all owners. Nothing vanishes until it does.
func TestAServerThatStartedLatelyTakesNothingOut(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.put(w.table, "agent/n2", "b:1")
		w.sees("n1/a:1", "n2/b:1")
		w.cut(true)
		w.state.Store(&follow.State{Recovering: true})
		w.table.Withdraw("agent/n1", skerry.Version{Epoch: 1, Seq: 9})
		w.table.Withdraw("agent/n2", skerry.Version{Epoch: 1, Seq: 9})
		w.seq["agent/n2"] = 9
		w.put(w.table, "agent/n2", "b:2")
		w.cut(false)
		time.Sleep(10 * time.Second)
		w.sees("n1/a:1", "n2/b:2")
		w.put(w.table, "agent/n3", "c:1")
		time.Sleep(time.Second)
		w.sees("n1/a:1", "n2/b:2", "n3/c:1")
		w.state.Store(&follow.State{})
		time.Sleep(time.Second)
		w.sees("n2/b:2", "n3/c:1")
	})
}

// What is kept on account of a server that started lately goes at the next one that knows all, though that has the view that the
// first one had.
func TestWhatIsKeptGoesAtAnotherServer(t *testing.T) {
	dir := t.TempDir()
	with(t, dir, func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.put(w.table, "agent/n2", "b:1")
		w.sees("n1/a:1", "n2/b:1")
		lose := func(last uint64) {
			w.cut(true)
			w.state.Store(&follow.State{Recovering: true})
			w.table.Withdraw("agent/n1", skerry.Version{Epoch: 1, Seq: last})
			w.cut(false)
			time.Sleep(10 * time.Second)
			w.sees("n1/a:1", "n2/b:1")
		}
		lose(99)
		w.cut(true)
		w.state.Store(&follow.State{})
		w.cut(false)
		time.Sleep(10 * time.Second)
		w.sees("n2/b:1")
		w.seq["agent/n1"] = 99
		w.put(w.table, "agent/n1", "a:1")
		time.Sleep(time.Second)
		lose(999)
	})
	// Likewise if the agent was restarted between them.
	within(t, dir, true, func(w *world) {
		w.sees("n1/a:1", "n2/b:1")
		w.put(w.table, "agent/n2", "b:1")
		w.cut(false)
		time.Sleep(10 * time.Second)
		w.sees("n2/b:1")
	})
}

// An instance that came lately may be unknown to the server that an agent moves to, since its own agent has not moved yet. It
// stays for a while there. One that was here for long does not.
func TestAnInstanceThatCameLatelyStaysOverAMove(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.put(w.table, "agent/n2", "b:1")
		w.sees("n1/a:1", "n2/b:1")
		time.Sleep(time.Minute)
		w.put(w.table, "agent/n3", "c:1")
		time.Sleep(time.Second)
		w.sees("n1/a:1", "n2/b:1", "n3/c:1")
		w.cut(true)
		w.mu.Lock()
		w.moved = true
		w.mu.Unlock()
		w.table.Withdraw("agent/n2", skerry.Version{Epoch: 1, Seq: 9})
		w.table.Withdraw("agent/n3", skerry.Version{Epoch: 1, Seq: 9})
		w.cut(false)
		time.Sleep(3 * time.Second)
		w.sees("n1/a:1", "n3/c:1")
		w.put(w.table, "agent/n1", "a:2")
		time.Sleep(time.Second)
		w.sees("n1/a:2", "n3/c:1")
		time.Sleep(10 * time.Second)
		w.sees("n1/a:2")
	})
}

// The age of a server's own catalog is that of the agent's answers.
func TestAServersAgeIsPassedOn(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.sees("n1/a:1")
		w.state.Store(&follow.State{Stale: 7000})
		time.Sleep(time.Second)
		if age := w.sees("n1/a:1"); age != 7*time.Second {
			w.t.Errorf("the answer is %v old", age)
		}
	})
}

// Names that no service has are followed for a minute, and no more than the bound; those that are waited for stay.
func TestMadeUpNamesCostLittle(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.sees("n1/a:1")
		w.cache.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"})
		refused := 0
		for n := range 200 {
			if _, _, err := w.cache.Service(w.t.Context(), fmt.Sprint("made-up-", n)); err != nil {
				refused++
			}
		}
		if n := w.cache.Status().Services; n != 100 || refused != 101 {
			w.t.Errorf("%d services are followed, %d refused", n, refused)
		}
		time.Sleep(30 * time.Second)
		w.sees("n1/a:1")
		time.Sleep(70 * time.Second)
		if n := w.cache.Status().Services; n != 1 {
			w.t.Errorf("%d services are followed after a minute", n)
		}
		time.Sleep(50 * time.Minute)
		if n := w.cache.Status().Services; n != 1 {
			w.t.Error("a service is let go that was asked for within the hour")
		}
		time.Sleep(30 * time.Minute)
		if n := w.cache.Status().Services; n != 0 {
			w.t.Error("a service that nobody asks for is followed still")
		}
	})
}

// An agent that starts while no server can be reached answers what it knew.
func TestAColdStart(t *testing.T) {
	dir := t.TempDir()
	with(t, dir, func(w *world) {
		w.put(w.table, "agent/n1", "a:1")
		w.put(w.table, self, "x:1")
		w.sees("n1/a:1")
		w.cache.Service(w.t.Context(), "made-up")
		time.Sleep(10 * time.Second)
		w.put(w.table, "agent/n1", "a:2")
		time.Sleep(10 * time.Second)
	})
	within(t, dir, true, func(w *world) {
		if age := w.sees("n1/a:2"); age < 0 {
			w.t.Errorf("the answer is %v old", age)
		}
		if v := w.cache.Known("web"); v == nil || v.Entries[0].Checks[0].ID != "c-a" {
			w.t.Errorf("the checks are lost: %+v", v)
		}
	})
}
