package consul

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/skerryhq/skerry/rescue"
)

// A request that waits inside net/http keeps a goroutine with a grown stack and
// two buffers: 18 KB. One that has waited for a while is parked: its connection
// is taken over, and all that stays is a goroutine with a small stack that reads
// (to see the client go) until the answer is due. Then the endpoint runs anew and
// the connection goes back to the server.

var (
	// errParked unwinds an endpoint whose request was parked.
	errParked = errors.New("parked")
	// errAnswered unwinds an endpoint whose request was answered already.
	errAnswered = errors.New("answered")
)

// Lot is where requests are parked. The zero value is ready to use.
type Lot struct {
	// Return takes a connection back whose request was answered.
	Return func(net.Conn)

	mu     sync.Mutex
	closed bool
	parked map[*parking]struct{}
	// waiting are the parked by the change that they wait for.
	waiting map[<-chan struct{}]*group
	end     chan struct{}
	guarded bool // see guard
}

// group is the parked requests that wait for the same change.
type group struct {
	members map[*parking]struct{}
	empty   chan struct{} // closed when the last has left
}

// parking is one parked request.
type parking struct {
	lot   *Lot
	sock  net.Conn // as it was taken over
	early []byte   // what the client sent of its next requests; its own goroutine writes it while busy
	wait  time.Duration
	group <-chan struct{} // among those of Lot.waiting
	q     request
	watch *watch

	mu     sync.Mutex
	busy   bool   // its own goroutine does more than read
	poked  bool   // it was to be woken while it was busy
	shared bool   // it was answered with others
	broken bool   // what looks whether its answer is due panicked
	unsent []byte // what is left to be written of that answer
}

// park takes the request's connection over. It reports false where that cannot
// be: then the request waits in the ordinary way.
//
// The request's body must have been read to its end: see drained.
func (q *request) park(wait time.Duration, w *watch) bool {
	lot := q.t.b.Lot
	hijacker, ok := q.w.(http.Hijacker)
	if lot == nil || !ok || q.resumed || !q.r.ProtoAtLeast(1, 1) || q.r.ProtoMajor != 1 || q.r.Close {
		return false
	}
	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return false
	}
	conn.SetDeadline(time.Time{})
	p := &parking{lot: lot, wait: wait, sock: conn, watch: w, busy: true}
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ := rw.Reader.Peek(n)
		p.early = bytes.Clone(early)
	}
	p.q = request{t: q.t, route: q.route, rest: q.rest, p: q.p, resumed: true}
	p.q.r = &http.Request{
		Method: q.r.Method, URL: q.r.URL, RemoteAddr: q.r.RemoteAddr, Body: http.NoBody,
		Proto: q.r.Proto, ProtoMajor: 1, ProtoMinor: q.r.ProtoMinor, Header: http.Header{},
	}
	if acceptsGzip(q.r) {
		p.q.r.Header["Accept-Encoding"] = gzipped
	}
	if !lot.enter(p) {
		w.end()
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
	if l.parked == nil {
		l.parked = map[*parking]struct{}{}
	}
	l.parked[p] = struct{}{}
	l.guard(p.q.t)
	return true
}

func (l *Lot) leave(p *parking) {
	p.watch.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parked, p)
	l.quit(p)
}

// quit takes p out of its group, which ends with its last. Called with mu held.
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
	l.closed = true
	l.begin()
	close(l.end)
	for p := range l.parked {
		p.sock.Close()
	}
}

// ended returns a channel that is closed when the lot is.
func (l *Lot) ended() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	return l.end
}

// run waits for what the request waits for, answers, and gives the connection back.
func (p *parking) run() {
	defer p.lot.leave(p)
	p.q.t.m.blocking.Inc()
	there := p.await()
	if !p.shared {
		p.q.t.m.blocking.Dec()
	}
	if !there || p.answer() != nil || p.lot.Return == nil {
		p.sock.Close()
		return
	}
	if len(p.early) > 0 {
		p.lot.Return(&prefixed{Conn: p.sock, head: p.early})
		return
	}
	p.lot.Return(p.sock)
}

// maxEarly is how many bytes of a client's next requests are read while it waits. A
// client that sends more is not read any further, and its leaving is not seen.
const maxEarly = 4 << 10

// await reports whether the client is still there when its answer is due, or has
// been given. It waits by reading: what ends the wait is the read's deadline, set to
// the end of the waiting time, and to the past by whoever sees the change.
func (p *parking) await() (there bool) {
	defer p.q.t.b.Net.Catch(rescue.Parked, func() { there, p.broken = true, true })
	end := time.Now().Add(p.wait)
	buf := make([]byte, 1) // most clients send nothing while they wait
	for len(p.early) < maxEarly {
		p.sock.SetReadDeadline(end)
		done, changed := p.watch.look()
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
			// The client has its answer, or sent its next request early: that is read
			// in its turn.
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

// rest says that the goroutine only reads from now on: others may answer in its
// place. It reports false when something has come meanwhile.
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

// rise ends what rest began, and reports whether others have answered.
func (p *parking) rise() (shared bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = true
	return p.shared
}

// wake ends the read. A goroutine that does not read looks again before it does: the
// socket of one that has ended is another's.
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
		done, changed := p.watch.look()
		if done {
			return
		}
		select {
		case <-changed:
		case <-p.q.t.tokensChanged():
		case <-timer.C:
			return
		case <-p.lot.ended():
			return
		}
	}
}

// pokeOn ends p's read when changed is closed. Those who wait for the same
// change share one goroutine.
func (l *Lot) pokeOn(changed <-chan struct{}, p *parking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		p.sock.Close()
		return
	}
	if l.waiting == nil {
		l.waiting = map[<-chan struct{}]*group{}
	}
	l.begin()
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

// begin makes the channel that ends the lot's goroutines. Called with mu held.
func (l *Lot) begin() {
	if l.end == nil {
		l.end = make(chan struct{})
	}
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

// answer answers the request, or writes what is left of an answer that was shared.
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

// gather works the answer out.
func (p *parking) gather() (w *parkedWriter) {
	defer p.q.t.b.Net.Catch(rescue.Parked, func() { w = failedAnswer() })
	if p.broken {
		return failedAnswer()
	}
	w = &parkedWriter{header: http.Header{}}
	q := &p.q
	q.w = w
	q.t.common(w.header)
	q.audited(func() {
		if err := q.run(); err != nil {
			q.fail(err)
		}
	})
	return w
}

// failedAnswer is the answer to a request whose endpoint panicked.
func failedAnswer() *parkedWriter {
	w := &parkedWriter{header: http.Header{}}
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	return w
}
