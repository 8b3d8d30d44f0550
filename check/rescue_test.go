package check

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// A probe that panics changes no check's state, and is tried again; others go on.
func TestProbeThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		g := newRig(t, func(ctx context.Context, url string) Result {
			if url == "broken" && !mended.Load() {
				panic("a fault of ours")
			}
			return passes(ctx, url)
		}, func(c *Config) {
			c.Log = slog.New(slog.DiscardHandler)
			c.Net = rescue.New(c.Log, prometheus.NewRegistry())
		})
		g.start(t, "b", skerry.CheckDefinition{HTTP: "broken", Interval: time.Second}, State{})
		g.start(t, "w", skerry.CheckDefinition{HTTP: "well", Interval: time.Second}, State{})
		pass(5 * time.Second)
		g.want(t, "w passing fine")
		mended.Store(true)
		pass(5 * time.Second)
		g.want(t, "b passing fine")
	})
}
