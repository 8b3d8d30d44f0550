// Package prequal asks servers for their load, for the policy [lb.Prequal].
package prequal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client/lb"
)

const (
	within = time.Second
	atOnce = 16
)

// Asker asks servers for their load, as many at once as is good.
type Asker struct {
	now       func() time.Duration
	ask       func(context.Context, lb.Node) (lb.Load, error)
	questions chan question
}

type question struct {
	picker *lb.Balancer
	node   lb.Node
}

// NewAsker returns an asker that has this clock, the picker's, and this way to ask a
// server. It sends nothing before [Asker.Start].
func NewAsker(now func() time.Duration, ask func(context.Context, lb.Node) (lb.Load, error)) *Asker {
	return &Asker{now, ask, make(chan question, atOnce)}
}

// Start asks what there is to ask until ctx ends, in goroutines of this group.
func (a *Asker) Start(ctx context.Context, in *sync.WaitGroup) {
	for range atOnce {
		in.Go(func() { a.run(ctx) })
	}
}

// Wonder has servers asked for their load after a call; with other policies than
// prequal, none.
func (a *Asker) Wonder(picker *lb.Balancer) {
	for _, n := range picker.Ask() {
		select {
		case a.questions <- question{picker, n}:
		default: // there are enough
		}
	}
}

func (a *Asker) run(ctx context.Context) {
	for {
		select {
		case q := <-a.questions:
			asked, cancel := context.WithTimeout(ctx, within)
			told, err := a.ask(asked, q.node)
			cancel()
			if err == nil {
				q.picker.Told(a.now(), q.node.Key, told)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Load parses the load that a server reports: calls in flight, and a latency in seconds.
// Impossible values are an error.
func Load(inFlight, latency float64) (lb.Load, error) {
	if !(inFlight >= 0 && inFlight < 1e9 && latency >= 0 && latency < 1e6) {
		return lb.Load{}, fmt.Errorf("a load of %v calls and %v s makes no sense", inFlight, latency)
	}
	return lb.Load{InFlight: int(inFlight), Latency: time.Duration(latency * float64(time.Second))}, nil
}
