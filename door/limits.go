package door

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/door/tally"
	"github.com/skerryhq/skerry/rates"
)

// Limits bounds the connections and requests of one client. The zero value of a field means its default.
type Limits struct {
	ConnsPerClient int // open HTTP connections of one address; default 200, -1: no limit
	MaxHeaderBytes int // of a request; default 128 KiB
	// ReadRate and WriteRate are requests a second of one address, with bursts of
	// twice as many; 0 or less: no limit.
	ReadRate  float64
	WriteRate float64
}

func (l Limits) withDefaults() Limits {
	if l.ConnsPerClient == 0 {
		l.ConnsPerClient = 200
	}
	if l.MaxHeaderBytes == 0 {
		l.MaxHeaderBytes = MaxHeader
	}
	return l
}

// streamsPerConn is the number of concurrent HTTP/2 requests of a client for each
// connection that it may have, so that a client with many blocking queries on one
// connection is no worse off than over HTTP/1.1.
const streamsPerConn = 5

// streams returns the most concurrent HTTP/2 requests of one address.
func (l Limits) streams() int {
	if l.ConnsPerClient < 0 {
		return -1
	}
	return streamsPerConn * l.ConnsPerClient
}

// clientListener answers 429 to connections beyond the limit of one address, and 503
// to those beyond the limit in all, and closes them.
type clientListener struct {
	net.Listener
	intake  *intake
	clients *tally.Tally // connections of one address
	dns     bool         // connections beyond a limit are closed without an answer; DNS counts its clients itself
}

func newClientListener(l net.Listener, d *intake, most int) *clientListener {
	return &clientListener{Listener: l, intake: d, clients: tally.New(most)}
}

const (
	tooManyText  = "Your IP is issuing too many concurrent connections, please rate limit your calls\n"
	tooManyConns = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\nRetry-After: 1\r\n\r\n" + tooManyText
)

// Accept implements [net.Listener].
func (l *clientListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, ok := clientOf(c)
		client := &clientConn{Conn: c, dns: l.dns, local: !ok || addr.IsLoopback()} // not ok: a unix socket
		if ok && !l.clients.Enter(addr) {
			go refuse(c, tooManyConns)
			continue
		}
		client.leave = sync.OnceFunc(func() {
			if ok {
				l.clients.Leave(addr)
			}
			l.intake.mu.Lock()
			defer l.intake.mu.Unlock()
			l.intake.leave(client)
		})
		if l.intake.enter(client) {
			return client, nil
		}
		client.leave()
		if l.dns {
			c.Close()
			continue
		}
		go refuse(c, l.intake.refusal())
	}
}

func refuse(c net.Conn, answer string) {
	c.SetDeadline(time.Now().Add(time.Second))
	c.Write([]byte(answer))
	c.Close()
}

func clientOf(c net.Conn) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return ap.Addr().Unmap(), err == nil
}

type clientConn struct {
	net.Conn
	dns, local bool
	leave      func()
	idle       atomic.Int64 // since when, in nanoseconds of the Unix time; 0: it is not idle
}

func (c *clientConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// SetIdle notes whether the connection waits for a question of DNS. One that does may
// be closed for another client's.
func (c *clientConn) SetIdle(idle bool) {
	if !idle {
		c.idle.Store(0)
		return
	}
	c.idle.Store(time.Now().UnixNano())
}

// SyscallConn implements [syscall.Conn] where the connection does.
func (c *clientConn) SyscallConn() (syscall.RawConn, error) {
	if inner, ok := c.Conn.(syscall.Conn); ok {
		return inner.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// limitRate answers 429 to an address above its request rate.
func limitRate(next http.Handler, l Limits) http.Handler {
	if l.ReadRate <= 0 && l.WriteRate <= 0 {
		return next
	}
	reads, writes := rates.New(l.ReadRate), rates.New(l.WriteRate)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r := writes
		if req.Method == http.MethodGet {
			r = reads
		}
		if !r.Allow(req.RemoteAddr) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "rate limit: this address asks more often than limits.request_limits allows; try again in a second", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, req)
	})
}
