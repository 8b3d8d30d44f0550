package check

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

// heeder is a prober that is told of changes by a test.
type heeder struct {
	Prober
	heard chan struct{}
	ended chan struct{}
}

func (h heeder) Heed(ctx context.Context, changed func()) {
	defer close(h.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.heard:
			changed()
		}
	}
}

// A target that is heard to have ended is probed at once, also where a run is under way, but not all the time.
func TestAChangeThatIsHeardIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard, ended := make(chan struct{}), make(chan struct{})
		var slow atomic.Int64
		var status atomic.Value
		status.Store(skerry.Passing)
		g := newRig(t, func(context.Context, string) Result {
			r := Result{Status: status.Load().(skerry.Health), Output: "."}
			time.Sleep(time.Duration(slow.Load()))
			return r
		}, func(c *Config) {
			make := c.Kinds[0].New
			c.Kinds[0].New = func(d *skerry.CheckDefinition) (Prober, error) {
				p, err := make(d)
				return heeder{p, heard, ended}, err
			}
		})
		g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: time.Hour}, State{})
		pass(time.Second)
		g.want(t, "a passing .")

		status.Store(skerry.Critical)
		heard <- struct{}{}
		g.want(t, "a critical .")

		pass(time.Second)
		runs := g.ran()
		for range 20 { // it starts and ends 20 times in a second
			heard <- struct{}{}
			pass(50 * time.Millisecond)
		}
		pass(time.Second)
		if n := g.ran() - runs; n < 2 || n > 11 {
			t.Errorf("%d runs for 20 changes in a second", n)
		}

		status.Store(skerry.Passing)
		slow.Store(int64(500 * time.Millisecond))
		heard <- struct{}{}
		pass(100 * time.Millisecond) // a run is under way, with what it saw before
		status.Store(skerry.Critical)
		slow.Store(0)
		heard <- struct{}{}
		pass(time.Second)
		g.want(t, "a passing .", "a critical .")

		g.Stop("a")
		<-ended
	})
}
