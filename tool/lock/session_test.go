package lock

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A session counts as lost before the servers can have given it up, and not for
// a failure that passes.
func TestKeep(t *testing.T) {
	away := errors.New("no server answers")
	tests := []struct {
		name  string
		renew func(ctx context.Context, since time.Duration) error
		want  time.Duration // when it is lost; 0: never
	}{
		{"renewed", func(context.Context, time.Duration) error { return nil }, 0},
		{"away for a while, again and again", func(_ context.Context, since time.Duration) error {
			if since%(12*time.Second) != 0 {
				return away
			}
			return nil
		}, 0},
		{"away for ever", func(context.Context, time.Duration) error { return away }, 12 * time.Second},
		{"silent for ever", func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() }, 12 * time.Second},
		{"ended by another", func(_ context.Context, since time.Duration) error {
			if since >= time.Minute {
				return errGone
			}
			return nil
		}, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, gone := time.Now(), make(chan struct{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				keep(ctx, start, func(ctx context.Context) error { return tt.renew(ctx, time.Since(start)) }, gone, slog.New(slog.DiscardHandler))
				lost := time.Duration(0)
				select {
				case <-gone:
					lost = time.Since(start)
				default:
				}
				if lost != tt.want {
					t.Errorf("lost after %v, want %v", lost, tt.want)
				}
			})
		})
	}
}
