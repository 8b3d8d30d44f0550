package docker

import (
	"context"
	"time"

	"github.com/moby/moby/client"
)

const (
	// heedAgain is the time after which an engine that does not tell its events is asked again, and
	// twice as long each time, heedSeldom at most.
	heedAgain  = time.Second
	heedSeldom = 30 * time.Second
)

// Heed implements [check.Heeder]: the engine tells when the container starts or ends.
func (p *prober) Heed(ctx context.Context, changed func()) {
	pause := heedAgain
	for missed := false; ; missed = true {
		if p.listen(ctx, missed, changed) {
			pause = heedAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, heedSeldom)
		}
	}
}

// listen reads events until the stream ends. missed: there may have been some before it. It reports whether
// the engine told any, or would have.
func (p *prober) listen(ctx context.Context, missed bool, changed func()) (listened bool) {
	api, err := p.engine.client()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filters := make(client.Filters).Add("type", "container").Add("container", p.container).Add("event", "start", "die")
	events := api.Events(ctx, client.EventsListOptions{Filters: filters})
	select {
	case <-events.Err:
		return false
	default:
	}
	if missed {
		changed()
	}
	for {
		select {
		case <-events.Messages:
			changed()
		case <-events.Err:
			return true
		}
	}
}
