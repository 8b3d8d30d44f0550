package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/door/tally"
)

// The limits of one client. A TCP connection has one question under way at a time: the
// next ones wait in the client's own window.
const (
	maxQuery          = 4096             // bytes of a question, with its options
	maxConnsPerClient = 128              // TCP connections from one IP address
	maxQueriesPerConn = 1024             // then the connection is closed
	firstQueryTimeout = 4 * time.Second  // from connecting to the first byte
	idleTimeout       = 10 * time.Second // from an answer to the next question's first byte
	questionTimeout   = 2 * time.Second  // from a question's first byte to its last
	writeTimeout      = 5 * time.Second  // for a client to take an answer
)

// limitedListener closes connections over the limit of one client at once.
type limitedListener struct {
	net.Listener
	ctx     context.Context
	clients *tally.Tally // over all listeners
	metrics *metrics
}

// Accept returns the next connection within the limit. After a temporary failure, such
// as too many open files, it waits a little and tries again.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if l.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && l.pause() {
				continue
			}
			return nil, err
		}
		ip := peerOf(c.RemoteAddr())
		if l.clients.Enter(ip) {
			l.metrics.connections.Inc()
			return &limitedConn{Conn: c, metrics: l.metrics, leave: sync.OnceFunc(func() {
				l.clients.Leave(ip)
				l.metrics.connections.Dec()
			})}, nil
		}
		l.metrics.rejected.Inc()
		c.Close()
	}
}

// pause waits a little, and reports whether to go on.
func (l *limitedListener) pause() bool {
	select {
	case <-l.ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

type limitedConn struct {
	net.Conn
	metrics *metrics
	leave   func()
}

// Write closes the connection of a client that does not read: nothing can follow a part
// of an answer.
func (c *limitedConn) Write(b []byte) (int, error) {
	err := c.SetWriteDeadline(time.Now().Add(writeTimeout))
	n := 0
	if err == nil {
		n, err = c.Conn.Write(b)
	}
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.metrics.closedUnread.Inc()
		}
		c.Conn.Close()
	}
	return n, err
}

func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// limitedReader bounds a question's length, before it takes memory, and the time that it
// takes. Each connection has its own.
type limitedReader struct {
	dns.Reader
	ctx       context.Context
	metrics   *metrics
	questions int
}

// ReadTCP implements [dns.Reader].
func (r *limitedReader) ReadTCP(conn net.Conn, timeout time.Duration) ([]byte, error) {
	q := &questionConn{Conn: conn, ctx: r.ctx}
	if c, ok := conn.(*limitedConn); ok {
		q.idler, _ = c.Conn.(idler)
	}
	if q.idler != nil {
		q.idler.SetIdle(true)
	}
	b, err := r.Reader.ReadTCP(q, timeout)
	switch {
	case err == nil:
		if r.questions++; r.questions == maxQueriesPerConn {
			r.metrics.closedMany.Inc()
		}
	case q.long:
		r.metrics.closedLong.Inc()
	case q.read > 0 && errors.Is(err, os.ErrDeadlineExceeded) && r.ctx.Err() == nil:
		r.metrics.closedSlow.Inc()
	}
	return b, err
}

// questionConn is a connection from which one question is read.
type questionConn struct {
	net.Conn
	ctx    context.Context
	length [2]byte // that the question begins with
	read   int     // bytes of length
	long   bool
	idler  idler // nil: idle connections are not reported
}

// idler is a connection that may be closed, to make room, while it is idle.
type idler interface{ SetIdle(idle bool) }

// Read implements [io.Reader].
func (c *questionConn) Read(b []byte) (int, error) {
	first := c.read == 0
	n, err := c.Conn.Read(b)
	if c.read < len(c.length) {
		c.read += copy(c.length[c.read:], b[:n])
		if size := binary.BigEndian.Uint16(c.length[:]); c.read == len(c.length) && size > maxQuery {
			c.long = true
			return 0, fmt.Errorf("a question of %d bytes", size)
		}
	}
	if first && n > 0 && err == nil {
		if c.idler != nil {
			c.idler.SetIdle(false)
		}
		err = c.SetReadDeadline(time.Now().Add(questionTimeout))
		if c.ctx.Err() != nil {
			return n, c.ctx.Err() // the end of serving has set a deadline that must hold
		}
	}
	return n, err
}

// accept accepts messages that may be questions. A question without a name may ask for a
// cookie.
func accept(h dns.Header) dns.MsgAcceptAction {
	if h.Qdcount == 0 && h.Ancount == 0 && h.Nscount == 0 && h.Arcount == 1 {
		h.Qdcount = 1
	}
	return dns.DefaultMsgAcceptFunc(h)
}

// errorWriter limits the errors that the library sends by itself to invalid packets. Each
// packet has its own.
type errorWriter struct {
	dns.Writer
	s *Server
}

// Write implements [dns.Writer].
func (w errorWriter) Write(b []byte) (int, error) {
	if peer, ok := w.Writer.(dns.ResponseWriter); ok {
		q := &question{st: w.s.state.Load(), peer: peerOf(peer.RemoteAddr()), now: time.Since(w.s.epoch)}
		if w.s.count(q, kindFailed, 0) != passed {
			return len(b), nil
		}
	}
	return w.Writer.Write(b)
}
