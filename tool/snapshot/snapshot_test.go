package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func written(t *testing.T, folder string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(folder, n), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// forTest are options whose saves write a file, or fail while fails is above 0, and whose service is not registered.
func forTest(t *testing.T, fails *int) *Options {
	o := &Options{Every: time.Hour, Retain: 3, MaxFailures: 3, Folder: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	o.Save = func(_ context.Context, file string) error {
		if *fails > 0 {
			*fails--
			return errors.New("no server")
		}
		return os.WriteFile(file, []byte("x"), 0o600)
	}
	return o
}

// Snapshots come at intervals, and the newest are kept.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 2
		o := forTest(t, &fails)
		written(t, o.Folder, "other.snap", "skerry-of-mine.snap")
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Hour+30*time.Minute)
		defer stop()
		began := time.Now()
		if err := o.loop(ctx, &sign{}); err != nil {
			t.Fatal(err)
		}
		got, err := o.kept()
		var want []string
		for _, hours := range []time.Duration{3, 4, 5} { // the first came a minute late, after two failures
			want = append(want, name(began.Add(hours*time.Hour+time.Minute)))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		for _, file := range []string{"other.snap", "skerry-of-mine.snap"} {
			if _, err := os.Stat(filepath.Join(o.Folder, file)); err != nil {
				t.Error(err)
			}
		}
	})
}

// After some failures in a row another process gets the lock.
func TestLoopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 3
		o := forTest(t, &fails)
		began := time.Now()
		if err := o.loop(t.Context(), &sign{}); err == nil || time.Since(began) != 2*retryAfter {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		last time.Duration // before now; -1: there is none
		want time.Duration
	}{
		{-1, 0}, {0, time.Hour}, {20 * time.Minute, 40 * time.Minute}, {2 * time.Hour, 0}, {-48 * time.Hour, time.Hour},
	} {
		o := &Options{Every: time.Hour, Folder: t.TempDir()}
		if tt.last != -1 {
			written(t, o.Folder, name(now.Add(-tt.last)), name(now.Add(-100*time.Hour)))
		}
		if got, err := o.due(now); err != nil || got != tt.want {
			t.Errorf("the last one %v ago: due in %v, %v, want %v", tt.last, got, err, tt.want)
		}
	}
}

// The snapshot that was just saved stays, also when the clock went back.
func TestRotate(t *testing.T) {
	o := &Options{Retain: 2, Folder: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	saved, later, latest := name(at), name(at.Add(time.Hour)), name(at.Add(2*time.Hour))
	written(t, o.Folder, saved, later, latest)
	if err := o.rotate(saved); err != nil {
		t.Fatal(err)
	}
	if got, err := o.kept(); err != nil || !slices.Equal(got, []string{saved, latest}) {
		t.Errorf("%q, %v", got, err)
	}
}
