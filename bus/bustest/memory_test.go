package bustest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/bus/bustest"
)

func TestSuite(t *testing.T) {
	bustest.Suite(t, func(t *testing.T, servers map[string]bustest.Receive) map[string]bustest.Member {
		n := bustest.New(time.Millisecond)
		members := map[string]bustest.Member{}
		for name, receive := range servers {
			b := n.Join(name, receive)
			t.Cleanup(func() { b.Close() })
			members[name] = b
		}
		return members
	})
}

// inbox keeps what a server got.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) receive(from string, frame []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, from+string(frame))
}

func (i *inbox) all() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.got)
}

// pair runs a test with two servers, within a bubble.
func pair(t *testing.T, test func(n *bustest.Network, a, b *bustest.Bus, atA, atB *inbox)) {
	synctest.Test(t, func(t *testing.T) {
		n := bustest.New(10 * time.Millisecond)
		var atA, atB inbox
		a, b := n.Join("a", atA.receive), n.Join("b", atB.receive)
		defer a.Close()
		defer b.Close()
		test(n, a, b, &atA, &atB)
	})
}

// settle lets so much time of the bubble pass, and all that happens in it happen.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want(t *testing.T, i *inbox, want ...string) {
	t.Helper()
	if have := i.all(); !slices.Equal(have, want) {
		t.Errorf("got %q, want %q", have, want)
	}
}

func TestDelay(t *testing.T) {
	pair(t, func(_ *bustest.Network, a, _ *bustest.Bus, _, atB *inbox) {
		a.Send("", []byte("1"))
		settle(9 * time.Millisecond)
		want(t, atB)
		settle(time.Millisecond)
		want(t, atB, "a1")
	})
}

func TestCut(t *testing.T) {
	pair(t, func(n *bustest.Network, a, b *bustest.Bus, atA, atB *inbox) {
		a.Send("b", []byte("under way"))
		n.Cut("a", "b")
		a.Send("b", []byte("lost"))
		b.Send("a", []byte("back"))
		settle(time.Second)
		want(t, atB)
		want(t, atA, "bback")
		n.Heal()
		a.Send("", []byte("again"))
		settle(time.Second)
		want(t, atB, "aagain")
	})
}

func TestPause(t *testing.T) {
	pair(t, func(n *bustest.Network, a, b *bustest.Bus, atA, atB *inbox) {
		n.Pause("b")
		a.Send("b", []byte("1"))
		a.Send("b", []byte("2"))
		b.Send("a", []byte("3"))
		settle(time.Minute)
		want(t, atA)
		want(t, atB)
		n.Resume("b")
		settle(time.Second)
		want(t, atB, "a1", "a2")
		want(t, atA, "b3")
	})
}

// A server that is paused does not take any number of frames.
func TestPauseIsBounded(t *testing.T) {
	pair(t, func(n *bustest.Network, a, _ *bustest.Bus, _, atB *inbox) {
		n.Pause("b")
		for range 20 {
			a.Send("b", make([]byte, bustest.Backlog/8))
		}
		settle(time.Second)
		n.Resume("b")
		settle(time.Second)
		if got := len(atB.all()); got < 8 || got > 9 {
			t.Errorf("%d frames waited, want 8, and one that was under way", got)
		}
	})
}

func TestCloseInAPause(t *testing.T) {
	pair(t, func(n *bustest.Network, a, b *bustest.Bus, _, atB *inbox) {
		n.Pause("b")
		a.Send("b", []byte("1"))
		settle(time.Second)
		b.Close()
		n.Resume("b")
		settle(time.Second)
		want(t, atB)
		again := new(inbox)
		c := n.Join("b", again.receive)
		defer c.Close()
		a.Send("b", []byte("2"))
		settle(time.Second)
		want(t, again, "a2")
	})
}

func TestDrop(t *testing.T) {
	run := func(seed uint64) (got []string) {
		pair(t, func(n *bustest.Network, a, _ *bustest.Bus, _, atB *inbox) {
			n.Drop(0.3, seed)
			for i := range 1000 {
				a.Send("b", []byte(fmt.Sprint(i)))
			}
			settle(time.Second)
			got = atB.all()
		})
		return got
	}
	first := run(1)
	if n := len(first); n < 600 || n > 800 {
		t.Errorf("%d of 1000 frames came", n)
	}
	if !slices.Equal(first, run(1)) {
		t.Error("the same seed loses other frames")
	}
	if slices.Equal(first, run(2)) {
		t.Error("another seed loses the same frames")
	}
}
