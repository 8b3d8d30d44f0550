package door

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
)

// UnixSocket is the owner and the mode of a unix socket. An empty field leaves the
// system's default.
type UnixSocket struct{ User, Group, Mode string }

// listen opens an address: host:port, or unix:///path.
func listen(address string, u UnixSocket) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix://")
	if !isUnix {
		return net.Listen("tcp", address)
	}
	// A socket that a killed process left behind would refuse the address.
	if fi, err := os.Stat(path); err == nil && fi.Mode()&fs.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := u.apply(path); err != nil {
		l.Close()
		return nil, fmt.Errorf("unix_sockets: %w", err)
	}
	return l, nil
}

func (u UnixSocket) apply(path string) error {
	if u.Mode != "" {
		mode, err := strconv.ParseUint(u.Mode, 8, 32)
		if err != nil {
			return fmt.Errorf("mode: %q is not an octal mode like 0770", u.Mode)
		}
		if err := os.Chmod(path, fs.FileMode(mode)); err != nil {
			return err
		}
	}
	uid, gid := -1, -1
	if u.User != "" {
		found, err := user.Lookup(u.User)
		if err != nil {
			if found, err = user.LookupId(u.User); err != nil {
				return fmt.Errorf("user: %w", err)
			}
		}
		uid, _ = strconv.Atoi(found.Uid)
	}
	if u.Group != "" {
		found, err := user.LookupGroup(u.Group)
		if err != nil {
			if found, err = user.LookupGroupId(u.Group); err != nil {
				return fmt.Errorf("group: %w", err)
			}
		}
		gid, _ = strconv.Atoi(found.Gid)
	}
	if uid == -1 && gid == -1 {
		return nil
	}
	return os.Chown(path, uid, gid)
}

// httpServer serves one handler on some listeners until it is stopped.
type httpServer struct {
	server *http.Server
	log    *slog.Logger
}

func newHTTPServer(h http.Handler, l Limits, d *intake, log *slog.Logger) *httpServer {
	return &httpServer{log: log, server: &http.Server{
		Handler: h, MaxHeaderBytes: l.MaxHeaderBytes,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 100},
		ConnState: d.stateOf,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

func (s *httpServer) serve(l net.Listener) error {
	if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stop waits for running requests; blocking queries are cut off.
func (s *httpServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
}

// returned hands connections back to an http.Server, as if they were new.
type returned struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newReturned() *returned {
	return &returned{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *returned) put(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		c.Close()
	}
}

// Accept implements [net.Listener].
func (l *returned) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *returned) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *returned) Addr() net.Addr { return &net.TCPAddr{} }
