// Package bustest is the bus in memory, for tests of other packages, and the promises of
// every bus as a suite.
package bustest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry/bus"
)

// Backlog is how many bytes may wait for one server. More is dropped.
const Backlog = 4 * bus.DefaultMaxFrame

// Network connects buses in memory. It works within [testing/synctest].
type Network struct {
	delay time.Duration

	mu     sync.Mutex
	buses  map[string]*Bus
	cuts   map[[2]string]bool // from, to
	paused map[string]chan struct{}
	share  float64
	random *rand.Rand
}

// New returns a network on which each frame takes the delay.
func New(delay time.Duration) *Network {
	return &Network{delay: delay, buses: map[string]*Bus{}, cuts: map[[2]string]bool{}, paused: map[string]chan struct{}{}}
}

// Cut drops all frames from one server to another, also those under way.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]string{from, to}] = true
}

// Heal ends all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// Pause stops a server as SIGSTOP does: frames for it wait, up to [Backlog]. Frames that the
// test sends in its name wait too.
func (n *Network) Pause(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused[name] == nil {
		n.paused[name] = make(chan struct{})
	}
}

// Resume ends a pause.
func (n *Network) Resume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.paused[name]; p != nil {
		close(p)
		delete(n.paused, name)
	}
	if b := n.buses[name]; b != nil {
		held := b.held
		b.held = nil
		for _, h := range held {
			n.carry(name, h.to, h.frame)
		}
	}
}

// Drop loses a share of all frames, from 0 to 1, by a random source with the seed.
func (n *Network) Drop(share float64, seed uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.share, n.random = share, rand.New(rand.NewPCG(seed, 0))
}

// Join adds a server. receive is called as by [bus.Start]. A server that had the name before
// must be closed.
func (n *Network) Join(name string, receive func(from string, frame []byte)) *Bus {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.buses[name] != nil {
		panic("bustest: two servers named " + name)
	}
	b := &Bus{net: n, name: name, receive: receive, more: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{})}
	n.buses[name] = b
	go b.run()
	return b
}

// carry puts a frame into the inboxes of its addressees. n.mu is held.
func (n *Network) carry(from, to string, frame []byte) {
	for _, name := range slices.Sorted(maps.Keys(n.buses)) { // in order: chance repeats by its seed
		b := n.buses[name]
		switch {
		case name == from || to != "" && to != name || n.cuts[[2]string{from, name}]:
		case n.share > 0 && n.random.Float64() < n.share:
		case b.bytes+len(frame) > Backlog && b.bytes > 0:
		default:
			b.inbox = append(b.inbox, delivery{from: from, frame: bytes.Clone(frame), due: time.Now().Add(n.delay)})
			b.bytes += len(frame)
			select {
			case b.more <- struct{}{}:
			default:
			}
		}
	}
}

// Bus is one server's bus in a [Network].
type Bus struct {
	net     *Network
	name    string
	receive func(from string, frame []byte)
	more    chan struct{} // the inbox is not empty
	quit    chan struct{}
	ended   chan struct{}

	// Guarded by net.mu.
	inbox  []delivery
	bytes  int
	held   []sending // while the server is paused
	closed bool
}

type delivery struct {
	from  string
	frame []byte
	due   time.Time
}

type sending struct {
	to    string
	frame []byte
}

var _ bus.Sender = (*Bus)(nil)

// Send implements [bus.Sender], with the errors of [bus.Bus.Send].
func (b *Bus) Send(to string, frame []byte) error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	switch {
	case b.closed:
		return bus.ErrClosed
	case len(frame) > bus.DefaultMaxFrame:
		return bus.ErrTooLarge
	case to == b.name:
		return fmt.Errorf("%w: %s is this server", bus.ErrAddress, to)
	case b.net.paused[b.name] != nil:
		b.held = append(b.held, sending{to, bytes.Clone(frame)})
	default:
		b.net.carry(b.name, to, frame)
	}
	return nil
}

// Close ends the bus as [bus.Bus.Close] does, but waits for a call of receive however long
// it takes.
func (b *Bus) Close() error {
	b.net.mu.Lock()
	if b.closed {
		b.net.mu.Unlock()
		return nil
	}
	b.closed = true
	delete(b.net.buses, b.name)
	b.net.mu.Unlock()
	close(b.quit)
	<-b.ended
	return nil
}

// run delivers, until Close.
func (b *Bus) run() {
	defer close(b.ended)
	for {
		d, ok := b.next()
		if !ok {
			select {
			case <-b.more:
				continue
			case <-b.quit:
				return
			}
		}
		if !b.until(d.due) {
			return
		}
		if !b.net.severed(d.from, b.name) {
			b.receive(d.from, d.frame)
		}
	}
}

func (b *Bus) next() (d delivery, ok bool) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if len(b.inbox) == 0 {
		return delivery{}, false
	}
	d = b.inbox[0]
	b.inbox = b.inbox[1:]
	b.bytes -= len(d.frame)
	return d, true
}

// until waits for the moment, and for the end of a pause. It is false after Close.
func (b *Bus) until(due time.Time) bool {
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-b.quit:
		return false
	}
	for {
		b.net.mu.Lock()
		paused := b.net.paused[b.name]
		b.net.mu.Unlock()
		if paused == nil {
			break
		}
		select {
		case <-paused:
		case <-b.quit:
			return false
		}
	}
	select {
	case <-b.quit:
		return false
	default:
		return true
	}
}

func (n *Network) severed(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[[2]string{from, to}]
}
