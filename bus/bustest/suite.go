package bustest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/bus"
)

// patience is how long the suite waits for a frame. Passing needs no such time.
const patience = 20 * time.Second

// Member is one server's bus.
type Member interface {
	bus.Sender
	Close() error
}

// Receive is a server's function for frames.
type Receive func(from string, frame []byte)

// Suite holds a kind of bus to the promises of [bus.Bus]. join starts a bus for each name,
// and returns when frames of each reach each; it closes them when the test ends, unless
// they are closed already.
func Suite(t *testing.T, join func(t *testing.T, servers map[string]Receive) map[string]Member) {
	for _, p := range []struct {
		name string
		test func(t *testing.T, g *group)
	}{
		{"all others get a frame for all", forAll},
		{"one gets a frame for one", forOne},
		{"order of a sender", order},
		{"order of several senders at once", orders},
		{"frames are not shared", owned},
		{"any name", names},
		{"empty and large frames", sizes},
		{"errors", failures},
		{"nothing after Close", silence},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.test(t, newGroup(t, join, "a", "b.x y", "c*>=ü"))
		})
	}
}

// group is three servers, with the frames that they got.
type group struct {
	t       *testing.T
	names   []string
	members map[string]Member

	mu    sync.Mutex
	got   map[string][]got
	more  chan struct{} // something was added to got
	alter func([]byte)
}

type got struct {
	from  string
	frame string
}

func newGroup(t *testing.T, join func(*testing.T, map[string]Receive) map[string]Member, names ...string) *group {
	g := &group{t: t, names: names, got: map[string][]got{}, more: make(chan struct{}, 1)}
	servers := map[string]Receive{}
	for _, name := range names {
		servers[name] = func(from string, frame []byte) { g.add(name, from, frame) }
	}
	g.members = join(t, servers)
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.got) // join may have tried the ways with frames
	return g
}

func (g *group) add(at, from string, frame []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if bytes.HasPrefix(frame, []byte(Trial)) {
		return
	}
	g.got[at] = append(g.got[at], got{from, string(frame)})
	if g.alter != nil {
		g.alter(frame)
	}
	select {
	case g.more <- struct{}{}:
	default:
	}
}

// Trial begins the frames with which join may try whether servers reach each other. The
// suite ignores them.
const Trial = "trial "

func (g *group) send(from, to, frame string) {
	g.t.Helper()
	if err := g.members[from].Send(to, []byte(frame)); err != nil {
		g.t.Fatalf("%s to %q: %v", from, to, err)
	}
}

// want waits until the server has got as many frames, and compares them.
func (g *group) want(at string, want ...got) {
	g.t.Helper()
	have := g.wait(at, len(want))
	if !slices.Equal(have, want) {
		g.t.Fatalf("%s got %.300v, want %.300v", at, have, want)
	}
}

// wait waits until the server has got n frames.
func (g *group) wait(at string, n int) []got {
	g.t.Helper()
	deadline := time.After(patience)
	for {
		g.mu.Lock()
		have := slices.Clone(g.got[at])
		g.mu.Unlock()
		if len(have) >= n {
			return have
		}
		select {
		case <-g.more:
		case <-time.After(10 * time.Millisecond): // another waiter took the word
		case <-deadline:
			g.t.Fatalf("%s got %d frames, want %d: %.300v", at, len(have), n, have)
		}
	}
}

func forAll(_ *testing.T, g *group) {
	a, b, c := g.names[0], g.names[1], g.names[2]
	g.send(a, "", "1")
	g.want(b, got{a, "1"})
	g.want(c, got{a, "1"})
	// If a had got its own, it would be before this one.
	g.send(b, a, "2")
	g.want(a, got{b, "2"})
}

func forOne(_ *testing.T, g *group) {
	a, b, c := g.names[0], g.names[1], g.names[2]
	g.send(a, c, "for c")
	g.send(a, "elsewhere", "for a server that is not there")
	g.send(a, "", "for all")
	g.want(b, got{a, "for all"})
	g.want(c, got{a, "for c"}, got{a, "for all"})
}

// A sender's frames for one and for all are in one order.
func order(_ *testing.T, g *group) {
	a, b := g.names[0], g.names[1]
	var want []got
	for i := range 2000 {
		frame := fmt.Sprint(i)
		want = append(want, got{a, frame})
		if i%3 == 0 {
			g.send(a, b, frame)
		} else {
			g.send(a, "", frame)
		}
	}
	g.want(b, want...)
}

func orders(t *testing.T, g *group) {
	const each = 1000
	var senders sync.WaitGroup
	for _, from := range g.names {
		senders.Go(func() {
			for i := range each {
				if err := g.members[from].Send("", fmt.Appendf(nil, "%06d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	for _, at := range g.names {
		last := map[string]string{}
		for _, f := range g.wait(at, each*(len(g.names)-1)) {
			if f.frame <= last[f.from] {
				t.Errorf("%s got %s of %s after %s", at, f.frame, f.from, last[f.from])
			}
			last[f.from] = f.frame
		}
	}
}

// The sender and each receiver may change their frames.
func owned(t *testing.T, g *group) {
	a, b, c := g.names[0], g.names[1], g.names[2]
	g.alter = func(frame []byte) { clear(frame) }
	var want []got
	frame := make([]byte, 3)
	for i := range 100 {
		copy(frame, fmt.Sprintf("%03d", i))
		want = append(want, got{a, string(frame)})
		if err := g.members[a].Send("", frame); err != nil {
			t.Fatal(err)
		}
		clear(frame)
	}
	g.want(b, want...)
	g.want(c, want...)
}

func names(_ *testing.T, g *group) {
	for _, from := range g.names {
		for _, to := range g.names {
			if from != to {
				g.send(from, to, from+" to "+to)
			}
		}
	}
	for _, at := range g.names {
		for _, f := range g.wait(at, len(g.names)-1) {
			if f.frame != f.from+" to "+at {
				g.t.Errorf("%s got %q from %s", at, f.frame, f.from)
			}
		}
	}
}

func sizes(_ *testing.T, g *group) {
	a, b := g.names[0], g.names[1]
	// A frame of the largest size may be lost where there is little processor: NATS takes
	// a route for dead whose answers wait behind it for too long.
	large := string(bytes.Repeat([]byte("x"), bus.DefaultMaxFrame/8))
	g.send(a, "", "")
	g.send(a, "", large)
	g.send(a, "", "after it")
	g.want(b, got{a, ""}, got{a, large}, got{a, "after it"})
}

func failures(t *testing.T, g *group) {
	a := g.names[0]
	if err := g.members[a].Send("", make([]byte, bus.DefaultMaxFrame+1)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("a frame that is too large: %v", err)
	}
	if err := g.members[a].Send(a, []byte("x")); !errors.Is(err, bus.ErrAddress) {
		t.Errorf("a frame for the sender: %v", err)
	}
	if err := g.members[a].Close(); err != nil {
		t.Error(err)
	}
	if err := g.members[a].Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := g.members[a].Send("", []byte("x")); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a frame after Close: %v", err)
	}
}

// A server that is closed in the middle of sends gets nothing afterwards.
func silence(t *testing.T, g *group) {
	a, b, c := g.names[0], g.names[1], g.names[2]
	for i := range 500 {
		g.send(a, "", fmt.Sprint(i))
	}
	g.wait(b, 1)
	if err := g.members[b].Close(); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	had := len(g.got[b])
	g.mu.Unlock()
	g.send(a, "", "after Close")
	g.send(a, b, "after Close")
	g.wait(c, 501)
	g.mu.Lock()
	defer g.mu.Unlock()
	if more := len(g.got[b]) - had; more > 0 {
		t.Errorf("%d frames came after Close", more)
	}
}
