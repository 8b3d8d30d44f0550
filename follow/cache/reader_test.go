package cache_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow/hub"
)

// A reader that follows a service through a hub is told of each change, whatever it came before: the first view of the
// service, the first server, or the end of the following because nothing was asked for long.
func TestReadersAreToldOfEveryChange(t *testing.T) {
	reader := func(w *world) (skerry.Subscription, func(want ...string)) {
		s := hub.New(w.cache, w.cache.Position).Subscribe()
		s.Follow("web", 0)
		return s, func(want ...string) {
			w.t.Helper()
			ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
			defer cancel()
			for {
				if _, err := s.Next(ctx); err != nil {
					w.t.Fatalf("the reader is not told of %v: %v", want, err)
				}
				if v, _, err := w.cache.Service(ctx, "web"); err == nil && show(v) == strings.Join(want, " ") {
					return
				}
			}
		}
	}
	t.Run("before the first view", func(t *testing.T) {
		with(t, "", func(w *world) {
			s, told := reader(w)
			defer s.Close()
			w.put(w.table, "agent/a", "w1:1")
			told("a/w1:1")
			w.put(w.table, "agent/a", "w1:2")
			told("a/w1:2")
			if got, want := s.Position("web"), w.cache.Position("web"); got == 0 || got != want {
				t.Errorf("the only reader here stands at %v, its agent at %v", got, want)
			}
		})
	})
	t.Run("before the first server", func(t *testing.T) {
		within(t, "", true, func(w *world) {
			s, told := reader(w)
			defer s.Close()
			w.put(w.table, "agent/a", "w1:1")
			time.Sleep(time.Minute)
			w.cut(false)
			time.Sleep(time.Minute)
			w.put(w.table, "agent/a", "w1:2")
			told("a/w1:2")
			w.put(w.table, "agent/a", "w1:3")
			told("a/w1:3")
		})
	})
	t.Run("after a long rest", func(t *testing.T) {
		with(t, "", func(w *world) {
			s, told := reader(w)
			defer s.Close()
			w.put(w.table, "agent/a", "w1:1")
			told("a/w1:1")
			time.Sleep(3 * time.Hour)
			w.put(w.table, "agent/a", "w1:2")
			told("a/w1:2")
		})
	})
}
