package check

import (
	"context"
	"time"
)

// heedGap is the least time between the end of a run and one that a change asks for: a target that ends all
// the time is not to be probed all the time.
const heedGap = 100 * time.Millisecond

// heed lets the prober of a target listen until the target is gone, if it can.
func (r *Runner) heed(t *target) {
	h, is := t.prober.(Heeder)
	if !is {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	t.deaf = cancel
	r.wg.Go(func() {
		defer cancel()
		h.Heed(ctx, func() { r.changed(t) })
	})
}

// changed has a target probed soon.
func (r *Runner) changed(t *target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case t.gone || r.closed:
	case t.phase == running:
		t.changed = true
	case t.phase == waiting:
		if at := max(t.ended+int64(heedGap), r.at(r.cfg.now())); at < t.due {
			r.dueDead++
			r.wait(t, at)
		}
	}
}
