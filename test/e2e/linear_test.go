package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/linear"
)

// What clients saw of the key/value store while the server was killed and
// restarted under them must be what one register, one lock, one pair of keys
// would have shown to clients that took turns.
//
// Each kill has keys of its own, in use before and after it: how long a history
// takes to be judged grows beyond all bounds with the calls whose outcome is
// not known, and each kill leaves some. So 100 kills are no more than 100 times one.

const (
	callers  = 8
	lifetime = 700 * time.Millisecond
)

func TestWhatClientsSeeIsLinearizable(t *testing.T) {
	a := start(t, map[string]any{"log_level": "warn"})
	h := linear.NewHistory()
	stop := make(chan struct{})
	var running sync.WaitGroup
	var round atomic.Int64
	for i := range callers {
		client := a.client()
		c := &linear.Client{ID: i, History: h, To: func() *api.Client { return client }}
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.Begin(round.Load())
				switch rand.IntN(3) {
				case 0:
					c.Register()
				case 1:
					c.Lock()
				default:
					c.Pair(t)
				}
				// The history must stay short enough to be judged.
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			}
		})
	}
	work := func() { // on a busy machine there are few calls in a lifetime
		want := h.Len() + 50
		time.Sleep(lifetime)
		await(t, "calls are made", func() error {
			if got := h.Len(); got < want {
				return fmt.Errorf("%d of %d", got, want)
			}
			return nil
		})
	}
	for range kills(t) {
		work()
		a.kill()
		a.run()
		work()
		round.Add(1)
	}
	close(stop)
	running.Wait()
	t.Logf("%d calls over %d kills", h.Len(), kills(t))
	if h.Len() < 100*kills(t) {
		t.Errorf("%d calls are no load", h.Len())
	}
	h.Judge(t)
}
