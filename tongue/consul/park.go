package consul

import (
	"bytes"
	"errors"
	"io"
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

// parkAfter is how long a request waits in the ordinary way. Who is answered
// sooner never pays for parking.
const parkAfter = 2 * time.Second

// errParked unwinds an endpoint whose request was parked.
var errParked = errors.New("parked")

// Lot is where requests are parked. The zero value is ready to use.
type Lot struct {
	// Return takes a connection back whose request was answered.
	Return func(net.Conn)

	mu     sync.Mutex
	closed bool
	parked map[*parking]struct{}
}

// parking is one parked request.
type parking struct {
	lot  *Lot
	conn net.Conn
	wait time.Duration
	q    request
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
}

// Close drops all parked requests.
func (l *Lot) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for p := range l.parked {
		p.conn.Close()
	}
}

// run waits for what the request waits for, answers, and gives the connection back.
func (p *parking) run(ready func() (bool, <-chan struct{})) {
	defer p.lot.leave(p)
	q := &p.q
	q.t.m.blocking.Inc()
	defer q.t.m.blocking.Dec()
	heard := make(chan readResult, 1)
	go listen(p.conn, heard)
	timer := time.NewTimer(p.wait)
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
		case r := <-heard:
			if r.err != nil {
				p.conn.Close()
				return
			}
			// The client sent its next request early: it will be read in its turn.
			p.conn = &prefixed{Conn: p.conn, head: []byte{r.b}}
			heard = nil
			continue
		}
		break
	}
	if heard != nil && !p.quiet(heard) {
		p.conn.Close()
		return
	}
	if err := p.answer(); err != nil || p.lot.Return == nil {
		p.conn.Close()
		return
	}
	p.lot.Return(p.conn)
}

type readResult struct {
	b   byte
	err error
}

// listen reports the first byte that comes, or why none will.
func listen(conn net.Conn, heard chan<- readResult) {
	var one [1]byte
	_, err := io.ReadFull(conn, one[:])
	heard <- readResult{one[0], err}
}

// quiet ends listen and reports whether the client is still there.
func (p *parking) quiet(heard <-chan readResult) bool {
	p.conn.SetReadDeadline(time.Unix(1, 0))
	r := <-heard
	p.conn.SetReadDeadline(time.Time{})
	if r.err == nil {
		p.conn = &prefixed{Conn: p.conn, head: []byte{r.b}}
	}
	return r.err == nil || errors.Is(r.err, os.ErrDeadlineExceeded)
}

// answerWithin is how long a client may take to read its answer.
const answerWithin = 30 * time.Second

func (p *parking) answer() error {
	w := &parkedWriter{header: http.Header{}}
	q := &p.q
	q.w = w
	q.t.common(w.header)
	if err := q.route.do(q); err != nil {
		q.fail(err)
	}
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
