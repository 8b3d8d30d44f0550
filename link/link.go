// Package link is the connection between the processes of a cluster on ports.server. It
// introduces a server to one that is given its address, which learns its
// name, its datacenter and the ports of its bus and its quorum store. And it carries streams of frames
// between agents and servers, whose meaning it does not know.
package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/skerryhq/skerry/mixed"
)

// Introduction is a server's answer to a process that joins it.
type Introduction struct {
	Name       string // of the node
	ID         string // of the node: a UUID
	Datacenter string
	Bus        int // the port of its bus
	Quorum     int // the port of its member of the quorum store; 0: it has none
	Access     Access
}

// Access is whether a server controls access.
type Access string

const (
	NoAccess       Access = ""         // it does not
	DryAccess      Access = "dry run"  // it refuses nothing
	EnforcedAccess Access = "enforced" // it does
)

const (
	path = "/v1/skerry/link/introduction"
	// within bounds one introduction, on either side.
	within     = 5 * time.Second
	maxAnswer  = 64 << 10
	maxHeaders = 8 << 10
	maxConns   = 30_000 // each agent keeps two, and one more while it passes requests on
	maxStreams = 10_000 // of one connection: parked queries wait on theirs
)

// Ask returns the introduction of the server at address, host:port.
func (d *Dialer) Ask(ctx context.Context, address string) (Introduction, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var i Introduction
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.scheme()+address+path, nil)
	if err != nil {
		return i, fmt.Errorf("%q is no address: %w", address, err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return i, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return i, err
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &i) != nil || i.Name == "" {
		return i, fmt.Errorf("%s answers with status %d, and is no Skerry server: give the address and the port of its ports.server", address, resp.StatusCode)
	}
	return i, nil
}

// newClient returns what makes a new connection for each introduction: they are rare.
func (d *Dialer) newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeaders, TLSClientConfig: d.secure.Clone(), TLSHandshakeTimeout: d.within,
			DialTLSContext: d.dialTLS(http1),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Config configures a [Listener].
type Config struct {
	Self Introduction
	// Streams serve the streams of each kind. A stream ends when its function returns, and ctx ends with
	// the stream.
	Streams map[Kind]func(ctx context.Context, s *Stream)
	// Requests answers HTTP requests that other processes pass on; nil: none is taken.
	Requests http.Handler
	// Refuse returns why the process of a node of this datacenter may not open a stream; nil: all may.
	Refuse func(node string) error
	// MaxConns bounds the connections; default 30,000.
	MaxConns int
	// TLS secures the connections. nil: they are plain.
	TLS *Secure
	Log *slog.Logger
}

// Secure is the TLS of a [Listener].
type Secure struct {
	*tls.Config
	// Peer returns the process that the certificate of the other side is for; the zero value: it showed none.
	Peer func(*tls.ConnectionState) Peer
	// Open answers the paths that need no certificate.
	Open map[string]http.HandlerFunc
	// Mixed: plain connections are taken too, and their side is what it says.
	Mixed bool
}

// Peer is the process at the other side of a connection.
type Peer struct{ Node, Datacenter string }

// Listener answers processes that join this server.
type Listener struct {
	cfg      Config
	listener net.Listener
	server   *http.Server

	mu    sync.Mutex
	conns map[net.Conn]struct{} // that are open, those of streams too
	plain map[string]int        // streams without TLS beside others with it, by node
}

// Listen opens address, host:port.
func Listen(address string, cfg Config) (*Listener, error) {
	body, err := json.Marshal(cfg.Self)
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(within))
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	l := &Listener{cfg: cfg, listener: netutil.LimitListener(inner, cmp.Or(cfg.MaxConns, maxConns)), conns: map[net.Conn]struct{}{}, plain: map[string]int{}}
	for kind, serve := range cfg.Streams {
		mux.HandleFunc("POST "+kind.path(), func(w http.ResponseWriter, r *http.Request) { l.accept(w, r, kind, serve) })
	}
	if cfg.Requests != nil {
		mux.Handle("/", cfg.Requests)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(cfg.TLS == nil || cfg.TLS.Mixed)
	protocols.SetHTTP2(cfg.TLS != nil)
	l.server = &http.Server{
		Handler: l.named(mux), ReadHeaderTimeout: within, IdleTimeout: within, MaxHeaderBytes: maxHeaders, Protocols: &protocols,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: signEvery, PingTimeout: answersWithin},
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), ConnState: l.note,
	}
	if cfg.TLS != nil {
		l.server.TLSConfig = cfg.TLS.Config
	}
	if cfg.TLS != nil && cfg.TLS.Mixed {
		secure := cfg.TLS.Config.Clone()
		secure.NextProtos = []string{"h2", http1}
		l.listener = mixed.NewListener(l.listener, secure)
	}
	return l, nil
}

// named lets those that show a certificate pass.
func (l *Listener) named(next http.Handler) http.Handler {
	if l.cfg.TLS == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open := l.cfg.TLS.Open[r.URL.Path]; open != nil {
			open(w, r)
			return
		}
		if l.judges(r) && l.cfg.TLS.Peer(r.TLS).Node == "" {
			http.Error(w, "this port is for the processes of the cluster: show the certificate of one", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// judges reports whether the other side of a request is judged by a certificate.
func (l *Listener) judges(r *http.Request) bool {
	return l.cfg.TLS != nil && !(l.cfg.TLS.Mixed && r.TLS == nil)
}

// note keeps the connections that are open. Those of streams leave when their streams end.
func (l *Listener) note(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		l.mu.Lock()
		l.conns[c] = struct{}{}
		l.mu.Unlock()
	case http.StateClosed:
		l.release(c)
	}
}

func (l *Listener) release(c net.Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// open returns the connections that are open.
func (l *Listener) open() []net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.conns))
}

// Cut closes the connections for which revoked is true.
func (l *Listener) Cut(revoked func(tls.ConnectionState) bool) {
	for _, c := range l.open() {
		// A connection in its handshake has no state yet, and is judged at its end.
		if t, ok := c.(*tls.Conn); ok && t.ConnectionState().HandshakeComplete && revoked(t.ConnectionState()) {
			sever(c)
		}
	}
}

// Plain returns the nodes that have streams without TLS here while others have it, in their order.
func (l *Listener) Plain() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.plain))
}

// notePlain counts a stream without TLS until left is called.
func (l *Listener) notePlain(node string) (left func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plain[node]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.plain[node]--; l.plain[node] == 0 {
			delete(l.plain, node)
		}
	}
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() string { return l.listener.Addr().String() }

// Run answers until ctx ends.
func (l *Listener) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		l.server.Close()
		for _, c := range l.open() { // of streams
			sever(c)
		}
	})
	defer stop()
	serve := l.server.Serve
	if l.cfg.TLS != nil && !l.cfg.TLS.Mixed {
		serve = func(inner net.Listener) error { return l.server.ServeTLS(inner, "", "") }
	}
	if err := serve(l.listener); ctx.Err() == nil {
		return fmt.Errorf("ports.server: %w", err)
	}
	return nil
}

// Close ends a listener that was not run.
func (l *Listener) Close() error { return l.listener.Close() }
