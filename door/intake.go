package door

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Shares divides the open-file limit of the process, so that no client can take the files
// that checks, the journal and the store need.
type Shares struct {
	Limit      int // 0: not known
	Runners    int // concurrent checks; each may have filesPerRun files open
	Recursions int // concurrent DNS questions to other servers
	Agents     int // connections of agents and other servers
	Clients    int // connections of clients
}

const (
	mostRunners = 256
	filesPerRun = 3    // a connection, or a program's output, its end and its process
	mostReserve = 1024 // for the store, the journal, its compaction, the cluster
	mostRecurse = 1024
	mostAgents  = 30_000
)

// shareFiles divides the open-file limit. agents: this process listens for agents, which keep up to three connections each.
func shareFiles(limit int, agents bool) Shares {
	if limit <= 0 {
		return Shares{Runners: mostRunners, Recursions: mostRecurse, Agents: mostAgents, Clients: 1 << 20}
	}
	s := Shares{Limit: limit, Runners: max(min(mostRunners, limit/8), 4), Recursions: max(min(mostRecurse, limit/16), 4)}
	s.Clients = max(limit-filesPerRun*s.Runners-s.Recursions-min(mostReserve, limit/4), 8)
	if agents {
		s.Agents = min(mostAgents, s.Clients/2)
		s.Clients -= s.Agents
	}
	return s
}

// intake bounds the connections of all clients together: HTTP, HTTPS and DNS over
// TCP. When there are too many, it closes the longest idle ones; when none is idle, it
// refuses the new one. The last eighth is for clients on this host: strangers must not
// keep out a program that beats for its service.
type intake struct {
	shares Shares
	log    *slog.Logger
	closed *prometheus.CounterVec // by reason

	mu     sync.Mutex
	open   map[*clientConn]struct{}
	dns    int          // of open
	looked [2]time.Time // when no connection was idle: of all, and of those of DNS
	warned time.Time
}

func newIntake(s Shares, log *slog.Logger) *intake {
	d := &intake{shares: s, log: log, open: map[*clientConn]struct{}{}, closed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_connections_closed_total",
		Help: "Connections of clients that were closed because there were too many: refused, or idle for longest.",
	}, []string{"reason"})}
	d.closed.WithLabelValues("refused")
	d.closed.WithLabelValues("idle")
	return d
}

const (
	idleLeast = 100 * time.Millisecond // for a new connection to send its request
	lookAgain = 10 * time.Millisecond  // after no idle connection was found
)

// enter admits a connection, or reports false.
func (d *intake) enter(c *clientConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := d.shares.Clients
	if !c.local {
		most -= most / 8
	}
	shareFull := func() bool { return c.dns && d.dns >= max(d.shares.Clients/4, 1) }
	if shareFull() {
		d.closeIdle(true)
	} else if len(d.open) >= most {
		d.closeIdle(false)
	}
	if shareFull() || len(d.open) >= most {
		d.closed.WithLabelValues("refused").Inc()
		d.warn("connections of clients are refused: none is idle, and the open-file limit leaves room for no more")
		return false
	}
	d.open[c] = struct{}{}
	if c.dns {
		d.dns++
	}
	return true
}

// closeIdle makes room by closing some idle connections, the longest idle first. With
// dns, it closes only connections of DNS, whose share is used up.
func (d *intake) closeIdle(dns bool) {
	now := time.Now()
	looked := &d.looked[0]
	if dns {
		looked = &d.looked[1]
	}
	if now.Sub(*looked) < lookAgain {
		return
	}
	type idler struct {
		c     *clientConn
		since int64
	}
	var idle []idler
	for c := range d.open {
		if dns && !c.dns {
			continue
		}
		if since := c.idle.Load(); since != 0 && now.UnixNano()-since >= int64(idleLeast) {
			idle = append(idle, idler{c, since})
		}
	}
	if len(idle) == 0 {
		*looked = now
		return
	}
	slices.SortFunc(idle, func(a, b idler) int { return int(min(max(a.since-b.since, -1), 1)) })
	for _, i := range idle[:min(len(idle), 1+len(d.open)/64)] {
		if i.c.idle.CompareAndSwap(i.since, 0) { // else it has become busy
			d.leave(i.c)
			i.c.Conn.Close()
			d.closed.WithLabelValues("idle").Inc()
		}
	}
	d.warn("idle connections of clients are closed: the open-file limit leaves room for no more")
}

// leave is called with mu held, and more than once for a connection.
func (d *intake) leave(c *clientConn) {
	if _, ok := d.open[c]; !ok {
		return
	}
	delete(d.open, c)
	if c.dns {
		d.dns--
	}
}

func (d *intake) warn(message string) {
	if now := time.Now(); now.Sub(d.warned) > time.Minute {
		d.warned = now
		d.log.Warn(message+"; raise it (ulimit -n, LimitNOFILE=)", "connections", len(d.open), "open_file_limit", d.shares.Limit)
	}
}

func (d *intake) count() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return float64(len(d.open))
}

// stateOf notes whether a connection of HTTP is idle.
func (d *intake) stateOf(conn net.Conn, state http.ConnState) {
	c := unwrapped(conn)
	if c == nil {
		return
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.idle.Store(time.Now().UnixNano())
	case http.StateActive, http.StateHijacked:
		c.idle.Store(0)
	}
}

// unwrapped returns the connection below TLS.
func unwrapped(conn net.Conn) *clientConn {
	for {
		switch c := conn.(type) {
		case *clientConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// refusal returns the answer to an HTTP connection when there is no room.
func (d *intake) refusal() string {
	body := fmt.Sprintf("This agent has no room for more connections: its open-file limit (%d) leaves %d to clients; try again, or raise it\n", d.shares.Limit, d.shares.Clients)
	return "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\nRetry-After: 1\r\n\r\n" + body
}
