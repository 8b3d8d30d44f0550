// Package park keeps requests that wait for long without net/http.
//
// The connection is taken over. One goroutine with a small stack reads from it until the
// answer is due, to detect that the client disconnects. Then the request is answered and the
// connection returned to the server. doc/adr/0006-parked-requests.md has the figures.
package park

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// Config configures a [Lot].
type Config struct {
	// Return receives the connection of an answered request. Nil: it is closed.
	Return  func(net.Conn)
	Gate    skerry.Gate      // answers a request whose token ends; nil: access is not controlled
	Waiting prometheus.Gauge // counts the parked requests that wait
	Net     *rescue.Net      // recovers panics; nil: they are not recovered
}

// Lot implements [skerry.Lot].
type Lot struct {
	cfg Config
	end chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	parked map[*parking]struct{}
	// waiting are the parked requests by the change that they wait for.
	waiting map[<-chan struct{}]*group
	guarded bool // watchTokens runs
}

// New returns an empty lot.
func New(cfg Config) *Lot {
	return &Lot{cfg: cfg, end: make(chan struct{}), parked: map[*parking]struct{}{}, waiting: map[<-chan struct{}]*group{}}
}

// group is the parked requests that wait for the same change.
type group struct {
	members map[*parking]struct{}
	empty   chan struct{} // closed when the last has left
}

// parking is one parked request.
type parking struct {
	lot    *Lot
	sock   net.Conn // as it was taken over
	early  []byte   // bytes of the client's next requests; only its own goroutine writes it, while busy
	wait   time.Duration
	group  <-chan struct{} // among those of Lot.waiting
	waiter skerry.Waiter

	mu     sync.Mutex
	busy   bool   // its own goroutine does more than read
	poked  bool   // wake was called while it was busy
	shared bool   // it was answered with others
	broken bool   // its Look panicked
	unsent []byte // the rest of the shared answer
}

// Park implements [skerry.Lot].
func (l *Lot) Park(w http.ResponseWriter, r *http.Request, wait time.Duration, waiter skerry.Waiter) bool {
	hijacker, ok := w.(http.Hijacker)
	if !ok || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.Close {
		return false
	}
	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return false
	}
	conn.SetDeadline(time.Time{})
	p := &parking{lot: l, wait: wait, sock: conn, waiter: waiter, busy: true}
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ := rw.Reader.Peek(n)
		p.early = bytes.Clone(early)
	}
	if !l.enter(p) {
		waiter.End()
		conn.Close()
		return true
	}
	go p.run()
	return true
}

func (l *Lot) enter(p *parking) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.parked[p] = struct{}{}
	l.guard()
	return true
}

func (l *Lot) leave(p *parking) {
	p.waiter.End()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parked, p)
	l.quit(p)
}

// quit removes p from its group, which ends with its last member. Called with mu held.
func (l *Lot) quit(p *parking) {
	g := l.waiting[p.group]
	if g == nil {
		return
	}
	delete(g.members, p)
	if len(g.members) == 0 {
		delete(l.waiting, p.group)
		close(g.empty)
	}
}

// Close drops all parked requests.
func (l *Lot) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.end)
	for p := range l.parked {
		p.sock.Close()
	}
}

// run waits until the answer is due, answers, and returns the connection.
func (p *parking) run() {
	defer p.lot.leave(p)
	p.lot.cfg.Waiting.Inc()
	there := p.await()
	if !p.shared {
		p.lot.cfg.Waiting.Dec()
	}
	if !there || p.answer() != nil || p.lot.cfg.Return == nil {
		p.sock.Close()
		return
	}
	if len(p.early) > 0 {
		p.lot.cfg.Return(&prefixed{Conn: p.sock, head: p.early})
		return
	}
	p.lot.cfg.Return(p.sock)
}

// maxEarly bounds the bytes of a client's next requests that are read while it waits. If a
// client sends more, reading stops and its disconnect is not detected.
const maxEarly = 4 << 10

// await reports whether the client is still there when its answer is due or was given by
// others. It waits by reading until the read's deadline: the end of the waiting time. A
// change sets the deadline to the past.
func (p *parking) await() (there bool) {
	defer p.lot.cfg.Net.Catch(rescue.Parked, func() { there, p.broken = true, true })
	end := time.Now().Add(p.wait)
	buf := make([]byte, 1) // most clients send nothing while they wait
	for len(p.early) < maxEarly {
		p.sock.SetReadDeadline(end)
		done, changed := p.waiter.Look()
		if done || !time.Now().Before(end) {
			break
		}
		p.lot.pokeOn(changed, p)
		if !p.rest() {
			continue
		}
		n, err := p.sock.Read(buf)
		shared := p.rise()
		if n > 0 {
			// The client has its answer, or sent its next request early, which is
			// answered later.
			p.early = append(p.early, buf[:n]...)
			buf = make([]byte, 512)
		}
		if shared {
			break
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	if len(p.early) >= maxEarly && !p.shared {
		p.awaitUnread(end)
	}
	return p.sock.SetReadDeadline(time.Time{}) == nil
}

// rest marks the goroutine as only reading: others may answer in its place. It reports
// false if wake was called meanwhile.
func (p *parking) rest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poked {
		p.poked = false
		return false
	}
	p.busy = false
	return true
}

// rise ends the rest, and reports whether others have answered.
func (p *parking) rise() (shared bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = true
	return p.shared
}

// wake ends the read. A goroutine that does not read looks again before it does. The
// deadline is not set then: the socket may have been reused after the goroutine ended.
func (p *parking) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poked = p.busy; !p.busy {
		p.sock.SetReadDeadline(time.Unix(1, 0))
	}
}

// awaitUnread is await for a connection with bytes that must stay unread.
func (p *parking) awaitUnread(end time.Time) {
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	for {
		done, changed := p.waiter.Look()
		if done {
			return
		}
		select {
		case <-changed:
		case <-p.lot.tokensChanged():
		case <-timer.C:
			return
		case <-p.lot.end:
			return
		}
	}
}

// pokeOn ends p's read when changed is closed. Requests that wait for the same change
// share one goroutine.
func (l *Lot) pokeOn(changed <-chan struct{}, p *parking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		p.sock.Close()
		return
	}
	if p.group != changed {
		l.quit(p)
	}
	g := l.waiting[changed]
	if g == nil {
		g = &group{members: map[*parking]struct{}{}, empty: make(chan struct{})}
		l.waiting[changed] = g
		go l.poke(changed, g)
	}
	g.members[p] = struct{}{}
	p.group = changed
}

func (l *Lot) poke(changed <-chan struct{}, g *group) {
	select {
	case <-changed:
	case <-l.end:
	case <-g.empty:
		return
	}
	l.mu.Lock()
	if l.waiting[changed] == g {
		delete(l.waiting, changed)
	}
	l.mu.Unlock()
	l.fanOut(g.members)
}

// answerWithin is how long a client may take to read its answer.
const answerWithin = 30 * time.Second

// answer answers the request, or writes the rest of a shared answer.
func (p *parking) answer() error {
	p.sock.SetWriteDeadline(time.Now().Add(answerWithin))
	defer p.sock.SetWriteDeadline(time.Time{})
	if p.shared {
		if len(p.unsent) == 0 {
			return nil
		}
		_, err := p.sock.Write(p.unsent)
		return err
	}
	return p.gather().send(p.sock)
}

// gather computes the answer.
func (p *parking) gather() (w *writer) {
	defer p.lot.cfg.Net.Catch(rescue.Parked, func() { w = failedAnswer() })
	if p.broken {
		return failedAnswer()
	}
	w = &writer{header: http.Header{}}
	p.waiter.Answer(w)
	return w
}

// failedAnswer is the answer to a request whose endpoint panicked.
func failedAnswer() *writer {
	w := &writer{header: http.Header{}}
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	return w
}
