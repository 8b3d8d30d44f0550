package door

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// listenTLS accepts connections whose handshake must end within a time; 0: that of net/http.
func listenTLS(l net.Listener, conf *tls.Config, within time.Duration) net.Listener {
	if within == 0 {
		return tls.NewListener(l, conf)
	}
	return tls.NewListener(hasty{l, within}, conf)
}

type hasty struct {
	net.Listener
	within time.Duration
}

// Accept implements [net.Listener].
func (l hasty) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &shaking{Conn: c, end: time.Now().Add(l.within)}, nil
}

// shaking is a connection during its handshake. An http.Server sets a deadline of its own
// for the handshake, removes it afterwards, and has no setting for it.
type shaking struct {
	net.Conn
	end  time.Time
	done atomic.Bool
}

// NetConn returns the connection itself: the bound on all connections looks for it.
func (c *shaking) NetConn() net.Conn { return c.Conn }

// SetReadDeadline implements [net.Conn].
func (c *shaking) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(c.deadline(t)) }

// SetWriteDeadline implements [net.Conn].
func (c *shaking) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.deadline(t)) }

func (c *shaking) deadline(t time.Time) time.Time {
	if c.done.Load() {
		return t
	}
	if t.IsZero() {
		c.done.Store(true)
		return t
	}
	return c.end
}
