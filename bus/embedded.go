package bus

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The settings of routes. A server that stopped is noticed after 1.1 to 1.5 s.
const (
	pingEvery     = 500 * time.Millisecond
	pingsOut      = 2
	writeDeadline = 2 * time.Second // without progress; then the route is cut
	startWithin   = 10 * time.Second
)

// noClients is a port that cannot be listened on. NATS begins its routes when its listener
// for clients is ready or has failed, and never with DontListen. So that listener fails.
const noClients = "65536"

// embedded is the NATS server in this process.
type embedded struct {
	srv atomic.Pointer[server.Server] // another one after again
	cfg Config
	log *natsLog

	name  string // NATS' own name for it; another at each start
	front *front // before NATS; nil: NATS has the connections

	mu      sync.Mutex
	ended   bool
	port    int               // that routes are accepted on; -1 before the start: any
	asked   map[string]bool   // addresses of routes, from the configuration and AddPeers
	learned map[string]string // the address that a server announced last, by its token
}

// startEmbedded returns when routes are accepted.
func startEmbedded(cfg Config, self subjects, life string) (*embedded, error) {
	e := &embedded{
		cfg: cfg, log: newNATSLog(cfg.Log), name: self.self + "." + life,
		asked: map[string]bool{}, learned: map[string]string{},
	}
	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("the address to listen on: %w", err)
	}
	if e.port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("the address to listen on: port %q is no number", port)
	}
	if e.port == 0 || cfg.Mixed {
		e.port = server.RANDOM_PORT
	}
	if cfg.Advertise != "" {
		if err := checkAddress(cfg.Advertise); err != nil {
			return nil, fmt.Errorf("the address to advertise: %w", err)
		}
	}
	for _, addr := range cfg.Peers {
		if err := checkAddress(addr); err != nil {
			return nil, err
		}
		e.asked[addr] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	err = e.start()
	if err == nil && cfg.Mixed {
		err = e.mix()
	}
	if err != nil {
		e.end()
		return nil, err
	}
	return e, nil
}

// start starts NATS, with mu held, and returns when routes are accepted.
func (e *embedded) start() error {
	srv, err := server.NewServer(e.options())
	if err != nil {
		return err
	}
	e.srv.Store(srv)
	srv.SetLoggerV2(e.log, e.cfg.Log.Enabled(ctx, levelDebug), false, false)
	srv.Start()
	return e.listening()
}

// again ends NATS with all routes, and starts it anew at the same port.
func (e *embedded) again() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return nil
	}
	e.stop()
	return e.start()
}

// listening waits until routes are accepted, with mu held.
func (e *embedded) listening() error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(startWithin)
	defer late.Stop()
	for {
		if addr := e.srv.Load().ClusterAddr(); addr != nil {
			if e.port != addr.Port { // else it is only read
				e.port = addr.Port
			}
			return nil
		}
		select {
		case err := <-e.log.fatal:
			return err
		case <-late.C:
			return errors.New("NATS does not begin to listen")
		case <-tick.C:
		}
	}
}

// mix puts the front before NATS, with mu held, and lets NATS dial through it.
func (e *embedded) mix() (err error) {
	if e.front, err = startFront(e.cfg.Listen, e.cfg.TLS, e.cfg.Log, net.JoinHostPort(loopback, strconv.Itoa(e.port))); err != nil {
		return err
	}
	return e.reload()
}

const loopback = "127.0.0.1"

// options are made anew for each use: the server keeps and changes them.
func (e *embedded) options() *server.Options {
	host, _, _ := net.SplitHostPort(e.cfg.Listen)
	secure, advertise := e.cfg.TLS, e.cfg.Advertise
	if e.cfg.Mixed {
		host, secure, advertise = loopback, nil, e.advertised()
	}
	refused, _ := strconv.Atoi(noClients)
	return &server.Options{
		ServerName: e.name,
		Host:       loopback, Port: refused,
		NoSigs: true, NoLog: true,
		NoSystemAccount:  true,
		MaxClosedClients: 1,
		MaxPayload:       int32(e.cfg.MaxFrame),
		MaxPending:       int64(e.cfg.waiting()),
		// A frame for a server that does not read is dropped, in place of a delay for all.
		NoFastProducerStall: true,
		// A server that is down is tried each second; an error once an hour is enough.
		ConnectErrorReports: 3600, ReconnectErrorReports: 3600,
		Routes: e.routes(),
		Cluster: server.ClusterOpts{
			Name: e.cluster(), Host: host, Port: e.port, Advertise: advertise,
			TLSConfig: secure, TLSTimeout: 5,
			PoolSize: 1, Compression: server.CompressionOpts{Mode: server.CompressionOff},
			PingInterval: pingEvery, MaxPingsOut: pingsOut, WriteDeadline: writeDeadline,
			ConnectRetries: 120,
		},
	}
}

// cluster is NATS' name of the datacenter. A route from another one is refused.
func (e *embedded) cluster() string { return "skerry-" + token(e.cfg.Datacenter) }

// routes are the addresses asked for, and the newest of each server that announced one.
func (e *embedded) routes() (out []*url.URL) {
	addrs := slices.Collect(maps.Keys(e.asked))
	for addr := range maps.Values(e.learned) {
		if !e.asked[addr] {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	if e.cfg.Mixed {
		addrs = e.vias(addrs)
	}
	for _, addr := range addrs {
		out = append(out, &url.URL{Scheme: "nats-route", Host: addr})
	}
	return out
}

// vias returns where NATS dials to reach addresses: none before there is a front.
func (e *embedded) vias(addrs []string) (out []string) {
	if e.front == nil {
		return nil
	}
	meant := map[string]bool{}
	for _, addr := range addrs {
		meant[addr] = true
		via, err := e.front.via(addr)
		if err != nil {
			e.cfg.Log.Error("a route of the bus is not made", "error", err)
			continue
		}
		out = append(out, via)
	}
	e.front.keep(meant)
	return out
}

// add makes routes to addresses. It returns those that are none.
func (e *embedded) add(addrs []string) (bad []error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := false
	for _, addr := range addrs {
		if err := checkAddress(addr); err != nil {
			bad = append(bad, err)
		} else if !e.asked[addr] {
			e.asked[addr], changed = true, true
		}
	}
	if changed {
		if err := e.reload(); err != nil {
			bad = append(bad, err)
		}
	}
	return bad
}

// learn keeps a route to a server at the address that it announced: unlike a route that
// NATS learnt itself, it is tried for ever, and ends when the server has another address.
func (e *embedded) learn(from, addr string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.learned[from] == addr || checkAddress(addr) != nil || len(e.learned) >= maxPeers && e.learned[from] == "" {
		return nil
	}
	e.learned[from] = addr
	return e.reload()
}

// forget ends the attempts to reach a server that was not heard for long.
func (e *embedded) forget(from string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.learned[from] == "" {
		return nil
	}
	delete(e.learned, from)
	return e.reload()
}

// wanted reports whether there are addresses of others to reach.
func (e *embedded) wanted() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.asked) > 0 || len(e.learned) > 0
}

func (e *embedded) reload() error { return e.srv.Load().ReloadOptions(e.options()) }

// addr is the address that routes are accepted on.
func (e *embedded) addr() string {
	if e.front != nil {
		return e.front.listener.Addr().String()
	}
	host, _, _ := net.SplitHostPort(e.cfg.Listen)
	return net.JoinHostPort(host, strconv.Itoa(e.port))
}

// advertised is the address that others can reach this server at; "" if it is not known,
// because all addresses are listened on.
func (e *embedded) advertised() string {
	if e.cfg.Advertise != "" {
		return e.cfg.Advertise
	}
	if host, _, _ := net.SplitHostPort(e.cfg.Listen); host == "" || net.ParseIP(host).IsUnspecified() {
		return ""
	}
	return e.addr()
}

// stop ends NATS, if it runs.
func (e *embedded) stop() {
	if srv := e.srv.Load(); srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

func (e *embedded) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end()
}

// end is close with mu held.
func (e *embedded) end() {
	e.ended = true
	e.stop()
	if e.front != nil {
		e.front.close()
	}
}

func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no host:port to make a route to: %w", addr, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" {
		return fmt.Errorf("%q is no host:port to make a route to", addr)
	}
	return nil
}
