package bus_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/skerryhq/skerry/bus"
)

// proxy stands before a server's port, and can break what goes through it.
type proxy struct {
	listener net.Listener

	mu     sync.Mutex
	target string
	closed bool // new connections are closed at once
	closes int  // how many were
	conns  map[net.Conn]bool
	flow   sync.Cond // of stuck
	stuck  bool      // nothing is read any more
}

func newProxy(t testing.TB) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: map[net.Conn]bool{}}
	p.flow.L = &p.mu
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.carry(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.stick(false)
		p.cut(true)
		running.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// behind starts a bus that others reach through the proxy alone.
func (p *proxy) behind(t testing.TB, cfg bus.Config, receive func(string, []byte)) *bus.Bus {
	cfg.Advertise = p.addr()
	b := start(t, cfg, receive)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = b.Addr()
	return b
}

// cut closes all connections, and new ones until the next call with false.
func (p *proxy) cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = cut
	for conn := range p.conns {
		conn.Close()
	}
}

// refused returns how many new connections were closed at once.
func (p *proxy) refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closes
}

// stick stops to read from all connections, without closing them.
func (p *proxy) stick(stuck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck = stuck
	p.flow.Broadcast()
}

func (p *proxy) carry(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target, closed := p.target, p.closed
	if closed {
		p.closes++
	}
	p.mu.Unlock()
	if closed || target == "" {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	closed = p.closed // it may have been cut meanwhile
	if !closed {
		p.conns[client], p.conns[server] = true, true
	}
	p.mu.Unlock()
	if closed {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		p.mu.Lock()
		for p.stuck {
			p.flow.Wait()
		}
		p.mu.Unlock()
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil && err != io.ErrShortWrite {
			return
		}
	}
}
