package node

import (
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/skerryhq/skerry/files"
)

// A server of several that was without a majority for more than half a day restores no lease.
func TestWasAway(t *testing.T) {
	for _, tt := range []struct {
		ago  time.Duration // 0: nothing is on disk
		of   int
		away bool
	}{{0, 3, false}, {11 * time.Hour, 3, false}, {13 * time.Hour, 3, true}, {13 * time.Hour, 1, false}} {
		n := &Node{log: slog.New(slog.DiscardHandler)}
		n.cfg.DataDir = t.TempDir()
		if err := os.Mkdir(n.serverFile(""), 0o700); err != nil {
			t.Fatal(err)
		}
		if tt.ago > 0 {
			text, err := json.Marshal(together{time.Now().Add(-tt.ago)})
			if err != nil {
				t.Fatal(err)
			}
			if err := files.Replace(n.serverFile(togetherFile), text); err != nil {
				t.Fatal(err)
			}
		}
		if away, err := n.wasAway(tt.of); away != tt.away || err != nil {
			t.Errorf("%v ago, %d servers: away %v, %v", tt.ago, tt.of, away, err)
		}
	}
	n := &Node{log: slog.New(slog.DiscardHandler)}
	n.cfg.DataDir = t.TempDir()
	os.Mkdir(n.serverFile(""), 0o700)
	os.WriteFile(n.serverFile(togetherFile), []byte("{"), 0o600)
	if _, err := n.wasAway(3); err == nil {
		t.Error("a damaged file is taken")
	}
}

// A server that is a majority notes so soon after its start.
func TestTogetherIsNoted(t *testing.T) {
	n := running(t, first(t), nil)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(n.serverFile(togetherFile))
		var last together
		if err == nil && json.Unmarshal(text, &last) == nil && time.Since(last.At) < time.Minute {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s, %v", togetherFile, text, err)
		}
	}
}
