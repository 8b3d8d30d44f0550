package quorum

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A first start that is ended at any moment while the member opens leaves a folder that
// the next start makes a store of.
func TestAFirstStartThatWasEndedIsBegunAnew(t *testing.T) {
	ended := 0
	for early := range 12 {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(early)*2*time.Millisecond)
		s, err := Open(ctx, Embedded{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		cancel()
		if err != nil {
			ended++
			if _, err := os.Stat(filepath.Join(dir, "member", "wal")); err != nil {
				t.Fatalf("the member did not begin: the test shows nothing: %v", err)
			}
			s = open(t, Embedded{Dir: dir})
		}
		if err := put(t, s, "k/00000", nil); err != nil {
			t.Fatal(err)
		}
		s.Close()
		// From then on it is a store's folder, whatever ends the next start.
		ctx, cancel = context.WithTimeout(t.Context(), time.Duration(early)*2*time.Millisecond)
		if s, err := Open(ctx, Embedded{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err == nil {
			s.Close()
		}
		cancel()
		s = open(t, Embedded{Dir: dir})
		readable(t, s, 1)
		s.Close()
	}
	if ended == 0 {
		t.Error("no start was ended: the test shows nothing")
	}
}
