package form_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/form"
)

// world is servers that form a cluster, their clock, and their folders.
type world struct {
	*testing.T
	dir     string
	now     time.Time
	servers map[cluster.ServerID]*form.Former
	flying  []func()
}

func newWorld(t *testing.T) *world {
	return &world{T: t, dir: t.TempDir(), now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), servers: map[cluster.ServerID]*form.Former{}}
}

func (w *world) path(id cluster.ServerID) string { return filepath.Join(w.dir, string(id)) }

// start starts a server on what is in its folder.
func (w *world) start(id cluster.ServerID, expect int) *form.Former {
	w.Helper()
	return w.startWith(form.Config{Self: id, Expect: expect})
}

func (w *world) startWith(cfg form.Config) *form.Former {
	w.Helper()
	id := cfg.Self
	cfg.URL, cfg.Path, cfg.Log = "http://"+string(id), w.path(id), slog.New(slog.DiscardHandler)
	cfg.Send = func(messages []cluster.Envelope) { w.send(id, messages) }
	cfg.Now = func() time.Time { return w.now }
	f, err := form.New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.servers[id] = f
	return f
}

func (w *world) send(from cluster.ServerID, messages []cluster.Envelope) {
	for _, e := range messages {
		for id := range w.servers {
			if id != from && (e.To == "" || e.To == id) {
				w.flying = append(w.flying, func() {
					if to := w.servers[id]; to != nil {
						to.Receive(from, e.Message)
					}
				})
			}
		}
	}
}

func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= form.TickEvery {
		w.now = w.now.Add(form.TickEvery)
		for _, f := range w.servers {
			f.Tick()
		}
		for len(w.flying) > 0 {
			deliver := w.flying[0]
			w.flying = w.flying[1:]
			deliver()
		}
	}
}

func (w *world) nameOf(f *form.Former) cluster.ServerID {
	for id, s := range w.servers {
		if s == f {
			return id
		}
	}
	return ""
}

// members returns the first members that a server knows.
func (w *world) members(f *form.Former) (cluster.Proposal, bool) {
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	p, founds, err := f.Wait(ctx)
	if own := slices.Contains(p.Members, w.nameOf(f)); err == nil && founds != own {
		w.Errorf("a server of the members %v founds: %v", p.Members, founds)
	}
	return p, err == nil
}

// A read server is none of the first members, whatever its name, and learns of them.
func TestAReadServerIsNoFirstMember(t *testing.T) {
	w := newWorld(t)
	reader := w.start("a", cluster.NoVote)
	for _, id := range []cluster.ServerID{"b", "c", "d"} {
		w.start(id, 3)
	}
	w.pass(20 * time.Second)
	first, founds, err := reader.Wait(t.Context())
	if want := []cluster.ServerID{"b", "c", "d"}; err != nil || founds || !slices.Equal(first.Members, want) {
		t.Errorf("the reader knows %v, founds %v, %v; want %v", first.Members, founds, err, want)
	}
	b := w.servers["b"]
	if b.Votes("a") || !b.Votes("c") {
		t.Errorf("b: a takes a vote: %v, c: %v", b.Votes("a"), b.Votes("c"))
	}
	delete(w.servers, "c")
	w.pass(5 * time.Second)
	if b.Votes("c") {
		t.Error("c takes a vote after it fell silent")
	}
}

// A server that was alone is the only first member of its cluster, and stays it after a
// restart; those that expect several join it.
func TestAServerThatWasAlone(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		alone := w.startWith(form.Config{Self: "x", Expect: 3, Alone: true})
		for _, id := range []cluster.ServerID{"a", "b"} {
			w.start(id, 3)
		}
		w.pass(10 * time.Second)
		for id, f := range w.servers {
			first, founds, err := f.Wait(t.Context())
			if err != nil || !slices.Equal(first.Members, []cluster.ServerID{"x"}) || founds != (id == "x") {
				t.Errorf("%s knows %v, founds %v, %v", id, first.Members, founds, err)
			}
		}
		if _, founds, _ := alone.Wait(t.Context()); !founds {
			t.Error("x does not found")
		}
	}
}

func TestThreeOfFourFormACluster(t *testing.T) {
	w := newWorld(t)
	for _, id := range []cluster.ServerID{"a", "b"} {
		w.start(id, 3)
	}
	w.pass(5 * time.Second)
	if p, ok := w.members(w.servers["a"]); ok {
		t.Fatalf("two servers formed %v", p)
	}
	w.start("c", 3)
	w.pass(5 * time.Second)
	w.start("d", 0) // it joins what is there
	w.pass(5 * time.Second)
	for id, f := range w.servers {
		p, ok := w.members(f)
		if !ok || !slices.Equal(p.Members, []cluster.ServerID{"a", "b", "c"}) || p.URLs["b"] != "http://b" {
			t.Errorf("%s knows %+v, %v", id, p, ok)
		}
	}
	// After a restart it is known at once.
	delete(w.servers, "b")
	if p, ok := w.members(w.start("b", 3)); !ok || len(p.Members) != 3 {
		t.Errorf("after a restart b knows %+v, %v", p, ok)
	}
}

// A server whose disk takes nothing promises nothing.
func TestADiskThatTakesNothing(t *testing.T) {
	w := newWorld(t)
	for _, id := range []cluster.ServerID{"a", "b", "c"} {
		w.start(id, 3)
	}
	block := w.path("b") + ".new"
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Second)
	for id, f := range w.servers {
		if p, ok := w.members(f); ok {
			t.Fatalf("%s knows %v, although b could accept nothing", id, p)
		}
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	w.pass(15 * time.Second)
	for id, f := range w.servers {
		if p, ok := w.members(f); !ok || len(p.Members) != 3 {
			t.Errorf("%s knows %+v, %v", id, p, ok)
		}
	}
}

func TestADamagedState(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.path("a"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := form.New(form.Config{Self: "a", Path: w.path("a"), Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a damaged state is read as none")
	}
}

// A server that lost its disk founds nothing, although its name is among the first members.
func TestAWipedServerJoins(t *testing.T) {
	w := newWorld(t)
	for _, id := range []cluster.ServerID{"a", "b", "c"} {
		w.start(id, 3)
	}
	w.pass(10 * time.Second)
	if err := os.Remove(w.path("b")); err != nil {
		t.Fatal(err)
	}
	b := w.start("b", 3)
	w.pass(5 * time.Second)
	if p, founds, err := b.Wait(t.Context()); err != nil || founds || len(p.Members) != 3 {
		t.Errorf("it knows %+v, founds %v, %v", p, founds, err)
	}
}
