package skerryhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/internal/hedge"
	"github.com/skerryhq/skerry/client/internal/prequal"
	"github.com/skerryhq/skerry/client/lb"
)

var errNotUpgraded = errors.New("skerryhttp: the connection was not upgraded")

// service is one service that calls are balanced over.
type service struct {
	t       *Transport
	name    string
	picker  *lb.Balancer
	retries *lb.Budget
	hedges  *lb.Budget

	known chan struct{} // closed when there is a list
	wake  chan struct{} // there may be something to probe

	loads  *prequal.Asker
	probes sync.WaitGroup

	mu   sync.Mutex
	last client.Snapshot
}

// service returns the service of this name, which is followed from now on.
func (t *Transport) service(name string) (*service, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, client.ErrClosed
	}
	s := t.services[name]
	if s == nil {
		s = &service{t: t, name: name, known: make(chan struct{}), wake: make(chan struct{}, 1)}
		s.retries, s.hedges = lb.NewBudget(retryShare, retriesMost), hedge.Budget()
		s.loads = prequal.NewAsker(t.now, s.askLoad)
		o := t.o.lb
		o.Probed = t.o.health != ""
		observe := o.Observe
		o.Observe = func(e lb.Event) {
			if observe != nil {
				observe(e)
			}
			s.awake()
		}
		s.picker = lb.New(o)
		t.services[name] = s
		t.done.Go(s.follow)
		if o.Probed {
			t.done.Go(s.probe)
		}
		if o.Policy == lb.Prequal {
			s.loads.Start(t.ctx, &t.done)
		}
	}
	return s, nil
}

// follow keeps the picker's list, until the transport is closed.
func (s *service) follow() {
	defer s.t.c.Attach(s.name, "http", func() []lb.State { return s.picker.States(s.t.now()) })()
	for snapshot := range s.t.c.Watch(s.t.ctx, s.name) {
		s.picker.Update(s.t.now(), s.nodes(snapshot.Instances))
		s.mu.Lock()
		s.last = snapshot
		s.mu.Unlock()
		select {
		case <-s.known:
		default:
			// A list from the disk that is empty is none: the registry may know more.
			if len(snapshot.Instances) > 0 || snapshot.Freshness == client.Live {
				close(s.known)
			}
		}
	}
}

// nodes returns the instances as the picker knows them: those that are draining are
// there only if no others are.
func (s *service) nodes(instances []client.Instance) []lb.Node {
	up := slices.ContainsFunc(instances, func(i client.Instance) bool { return !i.Draining })
	nodes := make([]lb.Node, 0, len(instances))
	for _, i := range instances {
		n := lb.Node{Key: i.ID, Weight: float64(i.Weight), Zone: i.Zone, Down: i.Draining && up, Value: i.Address}
		if !i.Started.IsZero() {
			n.Started = min(i.Started.Sub(s.t.began), s.t.now()) // another host's clock may be ahead
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// wait returns when something is known of the service.
func (s *service) wait(ctx context.Context) error {
	select {
	case <-s.known:
		return nil
	default:
	}
	select {
	case <-s.known:
		return nil
	case <-s.t.ctx.Done():
		return client.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("skerryhttp: nothing is known of the service %q yet: %w", s.name, ctx.Err())
	}
}

// state is the service in words.
func (s *service) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf("%q (the list is %s", s.name, s.last.Freshness)
	if s.last.Err != nil {
		text += ": " + s.last.Err.Error()
	}
	return text + ")"
}

// pick returns a call to an instance that has not been tried.
func (s *service) pick(ctx context.Context, tried []string, repeatable bool) *lb.Call {
	r := lb.Request{Retryable: repeatable}
	if s.picker.Hashes() {
		r.Hash = client.HashOf(ctx)
	}
	if len(tried) > 0 {
		r.Exclude = func(n *lb.Node) bool { return slices.Contains(tried, n.Key) }
	}
	s.loads.Wonder(s.picker)
	return s.picker.Pick(s.t.now(), r)
}

func (s *service) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// probeWithin bounds a probe.
const probeWithin = 2 * time.Second

// probe asks those that are out how they are, until the transport is closed.
func (s *service) probe() {
	defer s.probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.t.ctx.Done():
			return
		}
		due, next := s.picker.Probes(s.t.now())
		for _, n := range due {
			s.probes.Go(func() {
				s.picker.Probe(s.t.now(), n.Key, s.well(n.Value.(string)))
				s.awake()
			})
		}
		if next >= 0 {
			timer.Reset(max(next-s.t.now(), 0))
		}
	}
}

// well reports whether an instance answers its health path with 200.
func (s *service) well(address string) bool {
	ctx, cancel := context.WithTimeout(s.t.ctx, probeWithin)
	defer cancel()
	return s.get(ctx, address, s.t.o.health, func(*http.Response) error { return nil }) == nil
}

// Retries may be a tenth of the calls, after the first ten.
const (
	retryShare  = .1
	retriesMost = 10
)
