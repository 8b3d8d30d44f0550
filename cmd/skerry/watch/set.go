package watch

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/hashicorp/consul/api"
)

// Set is the watches of an agent while they run.
type Set struct {
	address string
	log     *slog.Logger

	mu      sync.Mutex
	running map[string]*running // by definition
	closed  bool
}

type running struct {
	stop func()
	done chan struct{}
}

// NewSet returns an empty set, whose watches ask the agent at an address:
// host:port or unix:///path.
func NewSet(address string, log *slog.Logger) *Set {
	return &Set{address: address, log: log, running: map[string]*running{}}
}

// Replace makes these the watches that run. One that ran already goes on, and its handler
// is not called again; it returns when the others have stopped.
func (s *Set) Replace(definitions []Definition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[string]Definition{}
	if s.closed {
		definitions = nil
	}
	for _, d := range definitions {
		key := d.key
		for n := 2; ; n++ {
			if _, twice := wanted[key]; !twice {
				break
			}
			key = fmt.Sprint(d.key, n)
		}
		wanted[key] = d
	}
	var ending []*running
	for key, r := range s.running {
		if _, ok := wanted[key]; !ok {
			r.stop()
			ending = append(ending, r)
			delete(s.running, key)
		}
	}
	for _, r := range ending {
		<-r.done
	}
	for key, d := range wanted {
		if s.running[key] == nil {
			s.running[key] = s.start(d)
		}
	}
}

func (s *Set) start(d Definition) *running {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, done: make(chan struct{})}
	log := s.log.With("watch", d.name)
	handler := d.handler(log)
	tell := func(index string, data any) {
		if err := handler(ctx, index, data); err != nil && ctx.Err() == nil {
			log.Error("watch handler failed", "error", err)
		}
	}
	troubled := func(err error) {
		if err != nil {
			log.Error("watch failed; it is tried again at growing intervals", "error", err)
			return
		}
		log.Info("watch works again")
	}
	go func() {
		defer close(r.done)
		defer stop()
		if err := s.ask(ctx, d, tell, troubled); err != nil {
			log.Error("watch ended", "error", err)
		}
	}()
	return r
}

// ask runs one watch, with a transport of its own, so that a set leaves no
// connections behind.
func (s *Set) ask(ctx context.Context, d Definition, tell func(string, any), troubled func(error)) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // it is this process
	defer transport.CloseIdleConnections()
	client, err := api.NewClient(&api.Config{
		Address: s.address, Scheme: "http", Transport: transport, Datacenter: d.plan.Datacenter, Token: d.plan.Token,
	})
	if err != nil {
		return err
	}
	return Run(ctx, client, d.plan, tell, troubled)
}

// Stop ends all watches, for good, and does not wait for them.
func (s *Set) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, r := range s.running {
		r.stop()
	}
}

// Close stops all watches, and returns when their handlers have ended.
func (s *Set) Close() {
	s.Stop()
	s.Replace(nil)
}
