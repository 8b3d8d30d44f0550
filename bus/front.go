package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/skerryhq/skerry/mixed"
)

// front takes and makes the connections of routes while some servers use TLS and others do not: NATS itself has all routes
// with TLS, or none. NATS listens on loopback then, and dials addresses of the front on loopback.
type front struct {
	listener net.Listener
	dialer   *mixed.Dialer
	log      *slog.Logger
	ctx      context.Context
	stop     context.CancelFunc
	all      sync.WaitGroup

	mu   sync.Mutex
	vias map[string]net.Listener // where NATS dials, by the address that is meant
}

// dialWithin bounds the making of one connection of a route.
const dialWithin = time.Second

// startFront takes connections at listen, and hands them to NATS at to.
func startFront(listen string, secure *tls.Config, log *slog.Logger, to string) (*front, error) {
	inner, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	f := &front{
		listener: mixed.NewListener(inner, secure), log: log, vias: map[string]net.Listener{},
		dialer: mixed.NewDialer(func() *tls.Config { return secure }, dialWithin),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.all.Go(func() {
		f.carry(f.listener, func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp", to)
		})
	})
	return f, nil
}

// via returns where NATS dials to reach an address, host:port.
func (f *front) via(addr string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.vias[addr]
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
		f.vias[addr] = l
		f.all.Go(func() {
			f.carry(l, func(ctx context.Context) (net.Conn, error) { return f.dialer.Dial(ctx, addr) })
		})
	}
	return l.Addr().String(), nil
}

// keep ends the ways to all other addresses. Their connections stay.
func (f *front) keep(addrs map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr, l := range f.vias {
		if !addrs[addr] {
			l.Close()
			delete(f.vias, addr)
		}
	}
}

// carry joins each connection of a listener with one that dial makes.
func (f *front) carry(l net.Listener, dial func(context.Context) (net.Conn, error)) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, for example
			select {
			case <-f.ctx.Done():
			case <-time.After(acceptAgain):
			}
			continue
		}
		f.all.Go(func() {
			defer conn.Close()
			other, err := dial(f.ctx)
			if err != nil {
				f.log.Debug("a connection of a route is not made", "error", err)
				return
			}
			defer other.Close()
			defer context.AfterFunc(f.ctx, func() {
				conn.Close()
				other.Close()
			})()
			join(conn, other)
		})
	}
}

// acceptAgain is the wait after a connection that could not be taken.
const acceptAgain = 100 * time.Millisecond

// join carries bytes both ways until one side ends.
func join(a, b net.Conn) {
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(a, b)
		a.Close()
		b.Close()
	})
	io.Copy(b, a)
	a.Close()
	b.Close()
	back.Wait()
}

// close ends all connections.
func (f *front) close() {
	f.stop()
	f.listener.Close()
	f.keep(nil)
	f.all.Wait()
}
