// Package mixed takes and makes connections that are TLS or plain, while the processes of a cluster are moved from plain
// connections to TLS.
package mixed

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// firstWithin bounds the wait for the first byte of a connection that was taken.
	firstWithin = 5 * time.Second
	// atOnce bounds the connections that wait for their first byte. Further ones are taken when one of them has it.
	atOnce = 1000
	// handshake is the first byte of a connection with TLS: the type of the record with the hello.
	handshake = 0x16
)

// listener takes connections of both kinds.
type listener struct {
	net.Listener
	secure *tls.Config
	taken  chan taken
	slots  chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	waiting map[net.Conn]struct{} // for their first byte; nil: closed
	all     sync.WaitGroup
}

type taken struct {
	conn net.Conn
	err  error
}

// NewListener returns a listener for the connections of inner. The sides that dial speak first. A connection with TLS is a [tls.Conn]
// by secure, before its handshake. Another one is plain. One that stays silent for 5 s is closed.
func NewListener(inner net.Listener, secure *tls.Config) net.Listener {
	l := &listener{
		Listener: inner, secure: secure, taken: make(chan taken), slots: make(chan struct{}, atOnce), done: make(chan struct{}),
		waiting: map[net.Conn]struct{}{},
	}
	l.all.Go(l.take)
	return l
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case t := <-l.taken:
		return t.conn, t.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. It closes the connections that no Accept has returned.
func (l *listener) Close() error {
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		return nil
	}
	for c := range l.waiting {
		c.Close()
	}
	l.waiting = nil
	close(l.done)
	l.mu.Unlock()
	err := l.Listener.Close()
	l.all.Wait()
	return err
}

// take takes connections until the listener is closed.
func (l *listener) take() {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.done:
			return
		}
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			if !l.give(nil, err) {
				return
			}
			continue
		}
		l.all.Go(func() { l.first(conn) })
	}
}

// give hands the next Accept what it returns. It returns false once the listener is closed.
func (l *listener) give(conn net.Conn, err error) bool {
	select {
	case l.taken <- taken{conn, err}:
		return true
	case <-l.done:
		return false
	}
}

// first waits for the first byte of a connection.
func (l *listener) first(conn net.Conn) {
	if !l.wait(conn, true) {
		conn.Close()
		return
	}
	var b [1]byte
	err := conn.SetReadDeadline(time.Now().Add(firstWithin))
	if err == nil {
		_, err = conn.Read(b[:])
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Time{})
	}
	<-l.slots
	if !l.wait(conn, false) || err != nil {
		conn.Close()
		return
	}
	var out net.Conn = &begun{Conn: conn, first: b[:]}
	if b[0] == handshake {
		out = tls.Server(out, l.secure)
	}
	if !l.give(out, nil) {
		conn.Close()
	}
}

// wait notes whether a connection waits. It returns false once the listener is closed.
func (l *listener) wait(conn net.Conn, waits bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		return false
	}
	if waits {
		l.waiting[conn] = struct{}{}
	} else {
		delete(l.waiting, conn)
	}
	return true
}

// begun is a connection of which some bytes were read.
type begun struct {
	net.Conn
	first []byte // read already; empty: none
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.Conn.Read(p)
}

// Dialer makes connections with TLS to processes that take them, and plain ones to others.
type Dialer struct {
	secure func() *tls.Config
	within time.Duration

	mu    sync.Mutex
	plain map[net.Conn]struct{} // that are open
}

// NewDialer returns a dialer. secure returns the TLS of the connections; nil: this process has no certificate yet, and makes plain ones.
// within bounds the dialing of one.
func NewDialer(secure func() *tls.Config, within time.Duration) *Dialer {
	return &Dialer{secure: secure, within: within, plain: map[net.Conn]struct{}{}}
}

// Dial connects to address, host:port, with TLS. It makes a plain connection if the other side does not answer in TLS. A
// certificate that is refused is an error. A server of plain HTTP answers a hello at once: each has the byte of a line's end, as the
// number of an extension.
func (d *Dialer) Dial(ctx context.Context, address string, protocols ...string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	if secure := d.secure(); secure != nil {
		conn, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		secure = secure.Clone()
		secure.NextProtos = protocols
		if host, _, err := net.SplitHostPort(address); err == nil && secure.ServerName == "" {
			secure.ServerName = host
		}
		c := tls.Client(conn, secure)
		err = c.HandshakeContext(ctx)
		if err == nil {
			return c, nil
		}
		conn.Close()
		if _, is := errors.AsType[tls.RecordHeaderError](err); !is {
			return nil, err
		}
	}
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c := &noted{Conn: conn, of: d}
	d.mu.Lock()
	d.plain[c] = struct{}{}
	d.mu.Unlock()
	return c, nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// ClosePlain closes the plain connections that are open: the next ones may be with TLS.
func (d *Dialer) ClosePlain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.plain {
		c.(*noted).Conn.Close()
	}
	clear(d.plain)
}

// noted is a plain connection of a dialer.
type noted struct {
	net.Conn
	of *Dialer
}

func (n *noted) Close() error {
	n.of.mu.Lock()
	delete(n.of.plain, n)
	n.of.mu.Unlock()
	return n.Conn.Close()
}
