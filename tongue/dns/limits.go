package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// What a client may ask of us.
const (
	maxQuery          = 4096             // bytes of a question, with its options
	maxConnsPerClient = 128              // TCP connections from one IP address
	maxQueriesPerConn = 1024             // then the connection is closed
	firstQueryTimeout = 4 * time.Second  // from connecting to the end of the first question
	idleTimeout       = 10 * time.Second // from an answer to the end of the next question
	writeTimeout      = 5 * time.Second  // for a client to take an answer
)

// limitedListener closes connections over the limit of one client at once.
type limitedListener struct {
	net.Listener
	ctx      context.Context
	rejected prometheus.Counter

	mu    sync.Mutex
	conns map[netip.Addr]int
}

func newLimitedListener(ctx context.Context, l net.Listener, rejected prometheus.Counter) *limitedListener {
	return &limitedListener{Listener: l, ctx: ctx, rejected: rejected, conns: map[netip.Addr]int{}}
}

// Accept returns the next connection within the limit. A passing failure, such
// as too many open files, makes it wait a little and try again.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if l.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && l.pause() {
				continue
			}
			return nil, err
		}
		ip := addressOf(c)
		if l.enter(ip) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(ip) })}, nil
		}
		l.rejected.Inc()
		c.Close()
	}
}

// pause reports whether to go on.
func (l *limitedListener) pause() bool {
	select {
	case <-l.ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (l *limitedListener) enter(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[ip] >= maxConnsPerClient {
		return false
	}
	l.conns[ip]++
	return true
}

func (l *limitedListener) leave(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[ip]--; l.conns[ip] == 0 {
		delete(l.conns, ip)
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Write gives up on a client that does not read.
func (c *limitedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// limitedReader refuses long questions before there is memory for them.
type limitedReader struct{ dns.Reader }

func (r limitedReader) ReadTCP(conn net.Conn, timeout time.Duration) ([]byte, error) {
	return r.Reader.ReadTCP(&lengthConn{Conn: conn}, timeout)
}

// lengthConn looks at the two bytes of length that a question begins with.
type lengthConn struct {
	net.Conn
	length [2]byte
	read   int
}

func (c *lengthConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.read < 2 {
		c.read += copy(c.length[c.read:], b[:n])
		if size := binary.BigEndian.Uint16(c.length[:]); c.read == 2 && size > maxQuery {
			return 0, fmt.Errorf("a question of %d bytes", size)
		}
	}
	return n, err
}
