// Package cache keeps the views that an agent follows at a server. It answers from them, also while no server can
// be reached, and lays the agent's own registrations over them.
package cache

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/rest"
)

// Config configures a [Cache].
type Config struct {
	// Own is the catalog of this process, with the agent's own set alone. Its counter gives the indexes of
	// followed views.
	Own Own
	// Owner is the owner of that set. The server's entries of it give way to Own.
	Owner skerry.OwnerID
	// Pick returns the server to follow at, and another than the ones in not if there is one.
	Pick func(not ...string) (name, address string, ok bool)
	Dial func(ctx context.Context, address string) (Stream, error)
	Dir  string // of the copies on disk; empty: none are kept
	// MaxServices bounds the services that are followed; default 4,096.
	MaxServices int
	// Token returns the agent's own token, by which a server admits it; nil: it has none.
	Token func() string
	// Count begins to count the readers here of a service, that may have a view of before an index; nil: there are
	// none.
	Count      func(service string, index uint64) Count
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Own is a catalog that gives out indexes.
type Own interface {
	skerry.Catalog
	// Issue returns the next index of the catalog's counter.
	Issue() uint64
}

// Stream carries frames to a server and back.
type Stream interface {
	Send(frame []byte) error
	Receive() ([]byte, error)
	Close()
}

// Cache is a [skerry.Discovery] of an agent. Its methods may be called at once.
type Cache struct {
	cfg   Config
	names sync.Map // folded → *service
	turns atomic.Uint64
	// written counts the changes that servers made for callers of this agent.
	written atomic.Uint64

	stand   atomic.Pointer[stand]
	asking  chan struct{}
	laying  chan struct{}
	dirtied chan struct{} // a view is newer than its copy
	metrics *metrics
	resting rest.Servers // of the goroutine that follows
	noted   time.Time    // of the goroutine that keeps copies: when it was last noted that they are current
	failed  bool         // likewise: the last write of a copy

	mu       sync.Mutex
	count    int
	more     chan struct{} // closed when a further service may be followed
	probes   int           // that are being answered
	asks     follow.Ask    // that the present stream has not got yet
	unwanted chan string   // names whose copies are to be removed from disk
}

// stand is how the cache stands with the servers.
type stand struct {
	stream uint64 // counts streams
	up     bool   // the stream is open
	server string
	state  follow.State // of the server
	lost   time.Time    // when the views were last known to be current, unless up
}

// service is a service that is followed.
type service struct {
	name     string
	used     atomic.Int64 // Unix time in seconds up to which it may be waited for
	laid     atomic.Pointer[laid]
	stream   atomic.Uint64 // that confirmed followed last
	synced   atomic.Uint64 // followed has the changes up to this number of written
	known    chan struct{} // closed with the first view
	position atomic.Uint32 // the agent's position among the readers of the service; 0: not known

	// The rest is protected by the cache's lock.
	followed *skerry.View             // as the server has it; nil: not known
	server   string                   // that followed is of; empty: of the copy on disk
	digest   string                   // of followed; empty: no server has that view
	part     *follow.View             // a whole view that has come in parts so far
	held     bool                     // followed has entries that the server's whole view lacked
	young    map[follow.Key]time.Time // when entries came; those of long ago are forgotten now and then
	changed  chan struct{}
	dirty    bool        // the copy on disk is older
	copy     time.Time   // when it was made last
	asked    []*question // that the server has not answered yet, in their order
}

// laid is a followed view with the own set over it.
type laid struct {
	turn     uint64 // of the own set
	followed *skerry.View
	own      *skerry.View
	view     *skerry.View
}

const (
	defaultMax = 4096
	// knownWithin bounds the wait for the view of a service that is asked for the first time.
	knownWithin = time.Second
)

// New returns a cache with the copies in its folder.
func New(cfg Config) *Cache {
	if cfg.MaxServices == 0 {
		cfg.MaxServices = defaultMax
	}
	c := &Cache{cfg: cfg, asking: make(chan struct{}, 1), laying: make(chan struct{}, 1), dirtied: make(chan struct{}, 1), more: make(chan struct{}), unwanted: make(chan string, 64)}
	c.stand.Store(&stand{lost: time.Now()})
	c.load()
	c.metrics = newMetrics(c)
	return c
}

var errUnknown = skerry.Errorf(skerry.Unavailable, "this agent does not have the service, and no server can be asked")

// Service implements [skerry.Discovery]. The first question about a service waits for its view, a second at
// most.
func (c *Cache) Service(ctx context.Context, name string) (*skerry.View, time.Duration, error) {
	s := c.service(skerry.Fold(name))
	if s == nil {
		return nil, 0, errUnknown
	}
	if s.laid.Load() == nil && !c.await(ctx, s) {
		return nil, 0, errUnknown
	}
	c.sync(ctx, s)
	return c.view(s), c.age(s), nil
}

// service returns a service, which is followed from now on; nil if it cannot be.
func (c *Cache) service(name string) *service {
	now := time.Now().Unix()
	if v, ok := c.names.Load(name); ok {
		s := v.(*service)
		s.use(now)
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.names.Load(name); ok {
		return v.(*service)
	}
	if !c.stand.Load().up || name == "" || len(name) > maxName || c.count >= c.cfg.MaxServices && !c.evict() {
		return nil
	}
	s := &service{name: name, known: make(chan struct{}), changed: make(chan struct{})}
	s.use(now)
	s.synced.Store(c.written.Load())
	c.add(s)
	c.ask(follow.Ask{Follow: []follow.Want{{Service: name}}})
	return s
}

// use notes that a service is asked for, at most up to a Unix time.
func (s *service) use(until int64) {
	if s.used.Load() < until {
		s.used.Store(until)
	}
}

// add adds a service. It must be called with mu held, as ask must.
func (c *Cache) add(s *service) {
	c.names.Store(s.name, s)
	c.count++
}

// ask wants a server to be told.
func (c *Cache) ask(a follow.Ask) {
	c.asks.Follow, c.asks.Drop = append(c.asks.Follow, a.Follow...), append(c.asks.Drop, a.Drop...)
	c.asks.Counts, c.asks.Sync = append(c.asks.Counts, a.Counts...), append(c.asks.Sync, a.Sync...)
	c.asks.Echoes = append(c.asks.Echoes, a.Echoes...)
	signal(c.asking)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// await waits for the first view of a service.
func (c *Cache) await(ctx context.Context, s *service) bool {
	if !c.stand.Load().up {
		return false
	}
	late := time.NewTimer(knownWithin)
	defer late.Stop()
	select {
	case <-s.known:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// view returns the view of a known service. It takes no lock unless something changed.
func (c *Cache) view(s *service) *skerry.View {
	l := s.laid.Load()
	if l.turn == c.turns.Load() {
		return l.view
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lay(s)
}

// age is the time since a view was last known to be current.
func (c *Cache) age(s *service) time.Duration {
	st := c.stand.Load()
	if st.up && s.stream.Load() == st.stream {
		return st.stale()
	}
	return time.Since(st.lost)
}

func (st *stand) stale() time.Duration {
	if st.up {
		return time.Duration(st.state.Stale) * time.Millisecond
	}
	return time.Since(st.lost)
}

// Watch implements [skerry.Discovery]. A service is followed from then on. While its view is not known, the index is that of
// Own.
func (c *Cache) Watch(t skerry.Topic) (uint64, <-chan struct{}) {
	if t.Kind != skerry.TopicService {
		return c.cfg.Own.Watch(t)
	}
	name := skerry.Fold(t.Name)
	for {
		if v, ok := c.names.Load(name); ok {
			if index, changed := c.watch(v.(*service), t); changed != nil {
				return index, changed
			}
		}
		c.mu.Lock()
		more := c.more
		c.mu.Unlock()
		if c.service(name) == nil {
			index, _ := c.cfg.Own.Watch(t)
			return index, more
		}
	}
}

// watch is Watch for a service that is followed. The channel is nil if it was dropped meanwhile.
func (c *Cache) watch(s *service, t skerry.Topic) (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, _ := c.names.Load(s.name); now != s {
		return 0, nil
	}
	s.use(time.Now().Unix() + maxWait)
	if s.followed != nil {
		return c.lay(s).Index, s.changed
	}
	index, _ := c.cfg.Own.Watch(t)
	return index, s.changed
}

// Foreign implements [skerry.Discovery].
func (c *Cache) Foreign(index uint64) bool { return c.cfg.Own.Foreign(index) }

// Position returns this agent's position among the readers of a service; 0: it is not known yet.
func (c *Cache) Position(name string) skerry.Position {
	if v, ok := c.names.Load(skerry.Fold(name)); ok {
		return skerry.Position(v.(*service).position.Load())
	}
	return 0
}

// Known returns the view of a service if it is followed.
func (c *Cache) Known(name string) *skerry.View {
	if v, ok := c.names.Load(skerry.Fold(name)); ok {
		if s := v.(*service); s.laid.Load() != nil {
			return c.view(s)
		}
	}
	return nil
}

// Stale is the time since the views were last known to be current.
func (c *Cache) Stale() time.Duration { return c.stand.Load().stale() }

// Status is how a cache is.
type Status struct {
	Server   string        // that is followed at; empty: none
	Stale    time.Duration // since the views were last known to be current
	Services int
}

// Status returns the present status.
func (c *Cache) Status() Status {
	st := c.stand.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Status{Stale: st.stale(), Services: c.count}
	if st.up {
		out.Server = st.server
	}
	return out
}
