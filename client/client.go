// Package client finds the instances of services and keeps a service registered,
// whichever registry is underneath.
//
//	c, err := client.Open("skerry://127.0.0.1:8500")
//	…
//	for s := range c.Watch(ctx, "orders") {
//		fmt.Println(s.Freshness, s.Instances)
//	}
//
// A list that is known is never lost to a failure: while the registry does not
// answer, or answers with less than it had and cannot prove it, the last good list
// stays, in memory and on disk. Sources are imported by name, as database drivers
// are: "skerry" and "consul" come with this package's subpackage consul, others with
// client/etcd, client/kubernetes and so on; "direct" is always there.
package client

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"
)

// ErrClosed is returned by the methods of a closed Client.
var ErrClosed = errors.New("client: closed")

// ErrReadOnly is returned by Register where the source cannot take registrations.
var ErrReadOnly = errors.New("client: instances cannot be registered through this source")

// Client finds and registers instances through one source. It is safe for
// concurrent use.
type Client struct {
	source Source
	o      options

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu            sync.Mutex
	services      map[string]*service
	balancers     map[string][]*attached // by service
	registrations map[*Registration]struct{}
	closed        bool
}

// New returns a client of a source. It does not block, and does not fail because the
// registry is down.
func New(source Source, opts ...Option) *Client {
	c := &Client{
		source: source, o: defaults(), services: map[string]*service{},
		balancers: map[string][]*attached{}, registrations: map[*Registration]struct{}{},
	}
	for _, opt := range opts {
		opt(&c.o)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends all watches. It does not withdraw registrations: [Registration.Close] does.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.done.Wait()
	return nil
}

// Watch yields the list of a service, and again after every change, until ctx ends or the
// client is closed. It yields nothing before the first list. Several changes in a row may
// be seen as one. The service goes on being followed for a while after the last Watch of
// it has ended.
func (c *Client) Watch(ctx context.Context, name string) iter.Seq[Snapshot] {
	return func(yield func(Snapshot) bool) {
		s, err := c.follow(name)
		if err != nil {
			return
		}
		defer s.release()
		var last *Snapshot
		for {
			now, since, changed := s.current()
			if now != nil && now != last {
				if last = now; !yield(now.at(since)) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-c.ctx.Done():
				return
			}
		}
	}
}

// Snapshot returns the list of a service that is being watched; ok is false while there
// is none.
func (c *Client) Snapshot(name string) (s Snapshot, ok bool) {
	c.mu.Lock()
	f := c.services[name]
	c.mu.Unlock()
	if f == nil {
		return Snapshot{}, false
	}
	if now, since, _ := f.current(); now != nil {
		return now.at(since), true
	}
	return Snapshot{}, false
}

// Option configures a Client.
type Option func(*options)

type options struct {
	log      *slog.Logger
	cacheDir string
	place    string // distinguishes sources whose lists are in one folder
	maxAge   time.Duration
	hold     time.Duration
	shrink   float64
	linger   time.Duration
}

func defaults() options {
	return options{
		log: slog.New(slog.DiscardHandler), cacheDir: defaultCacheDir(),
		maxAge: 24 * time.Hour, hold: 30 * time.Second, shrink: .5, linger: time.Minute,
	}
}

// WithLogger sets where the client logs; default: nowhere.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithCacheDir sets the folder in which the last good lists are kept; default: skerry
// in the user's cache folder, SKERRY_CACHE_DIR if set; "" keeps none.
func WithCacheDir(dir string) Option { return func(o *options) { o.cacheDir = dir } }

// WithMaxAge sets for how long instances are kept that nothing has confirmed: those
// on disk, and those that a registry with lost data no longer knows; default 24 h.
func WithMaxAge(d time.Duration) Option { return func(o *options) { o.maxAge = d } }

// WithHold sets for how long a healthy registry must go on saying that many instances
// are gone before it is believed; default 30 s, twice the usual lifetime of a lease.
func WithHold(d time.Duration) Option { return func(o *options) { o.hold = d } }

// WithShrink sets which share of a list may be missing at once without proof;
// default 0.5.
func WithShrink(share float64) Option { return func(o *options) { o.shrink = share } }

type rules struct{}

// Inherit gives a Client that is inside a [Source] the rules of the one that watches
// the source with ctx: its logger, its maximal age, its hold and its shrink.
func Inherit(ctx context.Context) Option {
	return func(o *options) {
		if outer, ok := ctx.Value(rules{}).(*options); ok {
			o.log, o.maxAge, o.hold, o.shrink = outer.log, outer.maxAge, outer.hold, outer.shrink
		}
	}
}
