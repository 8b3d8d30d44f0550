package consul

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// A request that waits inside net/http keeps a goroutine with a grown stack and
// two buffers: 18 KB. One that has waited for a while is parked: its connection
// is taken over, and all that stays is a goroutine with a small stack that reads
// (to see the client go) until the answer is due. Then the endpoint runs anew and
// the connection goes back to the server.

// errParked unwinds an endpoint whose request was parked.
var errParked = errors.New("parked")

// Lot is where requests are parked. The zero value is ready to use.
type Lot struct {
	// Return takes a connection back whose request was answered.
	Return func(net.Conn)

	mu     sync.Mutex
	closed bool
	parked map[*parking]struct{}
	// waiting are the parked by the change that they wait for.
	waiting map[<-chan struct{}]map[*parking]struct{}
	end     chan struct{}
}

// parking is one parked request.
type parking struct {
	lot   *Lot
	conn  net.Conn
	wait  time.Duration
	group <-chan struct{} // among those of Lot.waiting
	q     request
}

// park takes the request's connection over. It reports false where that cannot
// be: then the request waits in the ordinary way.
func (q *request) park(wait time.Duration, ready func() (bool, <-chan struct{})) bool {
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
	p := &parking{lot: lot, wait: wait, conn: conn}
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ := rw.Reader.Peek(n)
		p.conn = &prefixed{Conn: conn, head: bytes.Clone(early)}
	}
	p.q = request{t: q.t, route: q.route, rest: q.rest, p: q.p, resumed: true}
	p.q.r = &http.Request{
		Method: q.r.Method, URL: q.r.URL, RemoteAddr: q.r.RemoteAddr, Body: http.NoBody,
		Proto: q.r.Proto, ProtoMajor: 1, ProtoMinor: q.r.ProtoMinor, Header: http.Header{},
	}
	if accept := q.r.Header["Accept-Encoding"]; accept != nil {
		p.q.r.Header["Accept-Encoding"] = accept
	}
	if !lot.enter(p) {
		conn.Close()
		return true
	}
	go p.run(ready)
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
	return true
}

func (l *Lot) leave(p *parking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parked, p)
	if group := l.waiting[p.group]; group != nil {
		delete(group, p)
	}
}

// Close drops all parked requests.
func (l *Lot) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.end != nil {
		close(l.end)
	}
	for p := range l.parked {
		p.conn.Close()
	}
}

// run waits for what the request waits for, answers, and gives the connection back.
func (p *parking) run(ready func() (bool, <-chan struct{})) {
	defer p.lot.leave(p)
	blocking := p.q.t.m.blocking
	blocking.Inc()
	defer blocking.Dec()
	if !p.await(ready) || p.answer() != nil || p.lot.Return == nil {
		p.conn.Close()
		return
	}
	p.lot.Return(p.conn)
}

// await reports whether the client is still there when its answer is due. It
// waits by reading: what ends the wait is the read's deadline, set to the end of
// the waiting time, and to the past by whoever sees the change.
func (p *parking) await(ready func() (bool, <-chan struct{})) bool {
	end := time.Now().Add(p.wait)
	for {
		p.conn.SetReadDeadline(end)
		done, changed := ready()
		if done || !time.Now().Before(end) {
			break
		}
		p.lot.pokeOn(changed, p)
		var one [1]byte
		_, err := p.conn.Read(one[:])
		if err == nil {
			// The client sent its next request early: it is read in its turn.
			p.conn = &prefixed{Conn: p.conn, head: []byte{one[0]}}
			return p.awaitUnread(ready, end)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return p.conn.SetReadDeadline(time.Time{}) == nil
}

// awaitUnread is await for a connection with bytes that must stay unread.
func (p *parking) awaitUnread(ready func() (bool, <-chan struct{}), end time.Time) bool {
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	for {
		done, changed := ready()
		if done {
			break
		}
		select {
		case <-changed:
			continue
		case <-timer.C:
		}
		break
	}
	return p.conn.SetReadDeadline(time.Time{}) == nil
}

// pokeOn ends p's read when changed is closed. Those who wait for the same
// change share one goroutine.
func (l *Lot) pokeOn(changed <-chan struct{}, p *parking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		p.conn.Close()
		return
	}
	if l.waiting == nil {
		l.waiting = map[<-chan struct{}]map[*parking]struct{}{}
		l.end = make(chan struct{})
	}
	group := l.waiting[changed]
	if group == nil {
		group = map[*parking]struct{}{}
		l.waiting[changed] = group
		go l.poke(changed)
	}
	group[p] = struct{}{}
	p.group = changed
}

func (l *Lot) poke(changed <-chan struct{}) {
	select {
	case <-changed:
	case <-l.end:
	}
	l.mu.Lock()
	group := l.waiting[changed]
	delete(l.waiting, changed)
	l.mu.Unlock()
	for p := range group {
		p.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// answerWithin is how long a client may take to read its answer.
const answerWithin = 30 * time.Second

func (p *parking) answer() error {
	w := &parkedWriter{header: http.Header{}}
	q := &p.q
	q.w = w
	q.t.common(w.header)
	q.audited(func() {
		if err := q.run(); err != nil {
			q.fail(err)
		}
	})
	p.conn.SetWriteDeadline(time.Now().Add(answerWithin))
	defer p.conn.SetWriteDeadline(time.Time{})
	return w.send(p.conn)
}

// parkedWriter gathers one answer and writes it at once.
type parkedWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *parkedWriter) Header() http.Header { return w.header }

func (w *parkedWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *parkedWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body == nil {
		w.body = b // shared bytes of a view are not copied; nothing writes to them
	} else {
		w.body = append(w.body[:len(w.body):len(w.body)], b...)
	}
	return len(b), nil
}

// WriteString keeps io.WriteString from handing over bytes that change.
func (w *parkedWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *parkedWriter) send(conn net.Conn) error {
	w.WriteHeader(http.StatusOK)
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 " + strconv.Itoa(w.status) + " " + http.StatusText(w.status) + "\r\nDate: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n")
	w.header["Content-Length"] = []string{strconv.Itoa(len(w.body))}
	w.header.Write(&head)
	head.WriteString("\r\n")
	both := net.Buffers{head.Bytes(), w.body}
	_, err := both.WriteTo(conn)
	return err
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	net.Conn
	head []byte
}

// Read implements [net.Conn].
func (c *prefixed) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	c.head = c.head[n:]
	return n, nil
}
