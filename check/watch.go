package check

import "context"

// watch shows the results of a Watcher until its target is gone. It has a goroutine of
// its own: these are few, and most of the time asleep.
func (r *Runner) watch(t *target, w Watcher) {
	ctx, cancel := context.WithCancel(r.ctx)
	t.phase, t.cancel, t.joined = running, cancel, make(chan struct{}, 1)
	r.wg.Go(func() {
		defer cancel()
		for {
			result, changed := w.Watch()
			r.mu.Lock()
			if !t.gone && !r.closed {
				r.publish(t, result)
			}
			r.mu.Unlock()
			select {
			case <-changed:
			case <-t.joined:
			case <-ctx.Done():
				return
			}
		}
	})
}
