package logstream

import (
	"context"
	"log/slog"
	"strings"
	"testing"
)

// writerFunc is a writer that is a function.
type writerFunc func(string)

func (f writerFunc) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

// No record after the first, empty write is missed.
func TestFollowMissesNothing(t *testing.T) {
	s := New(slog.DiscardHandler)
	log := slog.New(s.Handler())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var written []string
	s.Follow(ctx, slog.LevelInfo, false, writerFunc(func(line string) {
		if written = append(written, line); len(written) == 1 {
			log.Debug("too low")
			log.Info("ahoy")
			return
		}
		stop()
	}))
	if len(written) != 2 || written[0] != "" || !strings.Contains(written[1], "ahoy") {
		t.Errorf("written: %q, want an empty write and the line ahoy", written)
	}
}
