// Package zookeeper is the source of services that are registered in ZooKeeper, as
// Curator (and Spring Cloud) and Dubbo lay them out.
//
//	import _ "github.com/skerryhq/skerry/client/zookeeper"
//
//	c, err := client.Open("zookeeper://10.0.0.1:2181,10.0.0.2:2181/services")
//	…
//	for s := range c.Watch(ctx, "orders") { … }
//
// With layout=curator, the default, an instance is a node of JSON at
// "/<path>/<service>/<id>"; Spring Cloud's path is "services". With layout=dubbo an
// instance is a URL as a node's name at "/<path>/<interface>/providers"; the path is
// "dubbo" unless said. A user and password before the hosts are given as digest
// authentication. "zk" is the same scheme.
//
// Each service that is watched, and each registration, has a session of its own. The loss
// of one costs no list: another is opened, and the list is kept until its inventory has
// come.
package zookeeper

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skerryhq/skerry/client"
)

func init() {
	for _, scheme := range []string{"zookeeper", "zk"} {
		client.RegisterScheme(scheme, func(l client.Location) (client.Source, error) { return open(l) })
	}
}

// Source reads from and registers in one ensemble.
type Source struct {
	hosts  []string
	digest string // user:password
	root   string // absolute
	layout layout
}

func open(l client.Location) (*Source, error) {
	s := &Source{layout: curator{}}
	for name, values := range l.Query {
		if name != "layout" {
			return nil, fmt.Errorf("client/zookeeper: unknown parameter %q (there is: layout)", name)
		}
		if s.layout = layouts[values[0]]; s.layout == nil {
			return nil, fmt.Errorf("client/zookeeper: layout=%q: want curator or dubbo", values[0])
		}
	}
	if s.root = path.Join("/", l.Path); s.root == "/" {
		s.root = s.layout.root()
	}
	if l.User != nil {
		password, _ := l.User.Password()
		s.digest = l.User.Username() + ":" + password
	}
	for _, host := range l.Hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "2181")
		}
		s.hosts = append(s.hosts, host)
	}
	if len(s.hosts) == 0 {
		s.hosts = []string{"127.0.0.1:2181"}
	}
	return s, nil
}

const (
	watchSession = 10 * time.Second
	answerWithin = 5 * time.Second
	dialWithin   = time.Second
	// grace is for how long a session may be without a server: it moves to another.
	grace = 2 * time.Second
)

// session is a connection, with the events since the last call of next.
type session struct {
	*zk.Conn
	mu     sync.Mutex
	events []zk.Event
	signal chan struct{} // has one when there are events
	line   net.Conn
	ended  bool
}

// connect opens a session, which ends with ctx. It does not wait for a server.
func (s *Source) connect(ctx context.Context, timeout time.Duration) (*session, error) {
	out := &session{signal: make(chan struct{}, 1)}
	conn, _, err := zk.Connect(s.hosts, timeout, zk.WithDialer(out.dial), zk.WithHostProvider(&hosts{}), zk.WithLogger(silent{}), zk.WithLogInfo(false), zk.WithEventCallback(out.happened))
	if err != nil {
		return nil, fmt.Errorf("client/zookeeper: %w", err)
	}
	out.Conn = conn
	context.AfterFunc(ctx, func() {
		conn.Close() // tells the server, so that the session ends at once
		out.hangUp()
	})
	if s.digest == "" {
		return out, nil
	}
	if err := conn.AddAuth("digest", []byte(s.digest)); err != nil {
		return nil, fmt.Errorf("client/zookeeper: authenticate: %w", err)
	}
	return out, nil
}

// dial notes the line: the library would wait for minutes for a server that accepts and
// is silent.
func (s *session) dial(network, address string, _ time.Duration) (net.Conn, error) {
	line, err := net.DialTimeout(network, address, dialWithin)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line = line; s.ended {
		line.Close()
	}
	return line, nil
}

func (s *session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended = true; s.line != nil {
		s.line.Close()
	}
}

func (s *session) happened(e zk.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// take returns the events so far.
func (s *session) take() []zk.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

// silent logs nothing: errors are returned to the caller.
type silent struct{}

// Printf implements [zk.Logger].
func (silent) Printf(string, ...any) {}

// hosts are tried in an order of chance. The library's own provider fails as a whole
// when one of the names cannot be resolved.
type hosts struct {
	mu      sync.Mutex
	names   []string
	at, yet int // the next; how many since one was connected
}

// Init implements [zk.HostProvider].
func (h *hosts) Init(names []string) error {
	h.names = make([]string, len(names))
	for to, from := range rand.Perm(len(names)) {
		h.names[to] = names[from]
	}
	return nil
}

// Len implements [zk.HostProvider].
func (h *hosts) Len() int { return len(h.names) }

// Next implements [zk.HostProvider].
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server, retryStart = h.names[h.at], h.yet >= len(h.names)
	h.at = (h.at + 1) % len(h.names)
	if h.yet++; retryStart {
		h.yet = 1
	}
	return server, retryStart
}

// Connected implements [zk.HostProvider].
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.yet = 0
}
