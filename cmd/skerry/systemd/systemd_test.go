package systemd

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// sent collects messages and the time since the start.
type sent struct {
	net.Conn
	began time.Time
	texts []string
	times []time.Duration
}

// Write implements [net.Conn].
func (s *sent) Write(b []byte) (int, error) {
	if n := len(s.texts); n > 0 && s.texts[n-1] == string(b) {
		return len(b), nil // again
	}
	s.texts, s.times = append(s.texts, string(b)), append(s.times, time.Since(s.began))
	return len(b), nil
}

// A process is ready when it is, and for its manager after 30 s in any case.
func TestStarting(t *testing.T) {
	for _, tt := range []struct {
		after time.Duration
		texts []string
		times []time.Duration
	}{
		{0, []string{"READY=1\nSTATUS=ready"}, []time.Duration{0}},
		{5 * time.Second, []string{"STATUS=no server", "READY=1\nSTATUS=ready"}, []time.Duration{0, 5 * time.Second}},
		{time.Minute, []string{"STATUS=no server", "READY=1", "STATUS=runs, but is not ready: no server", "READY=1\nSTATUS=ready"},
			[]time.Duration{0, 30 * time.Second, 30 * time.Second, time.Minute}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &sent{began: time.Now()}
			m := &Manager{conn: s, log: slog.New(slog.DiscardHandler)}
			m.Starting(t.Context(), func() error {
				if time.Since(s.began) < tt.after {
					return errors.New("no server")
				}
				return nil
			})
			if !slices.Equal(s.texts, tt.texts) || !slices.Equal(s.times, tt.times) {
				t.Errorf("%q at %v", s.texts, s.times)
			}
		})
	}
}
