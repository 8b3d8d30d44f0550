package node

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
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
			if err := writeKept(n.serverFile(togetherFile), together{time.Now().Add(-tt.ago)}); err != nil {
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
	if err := program.Await(time.Minute, func() error {
		var last together
		there, err := readKept(n.serverFile(togetherFile), &last, writtenAgain)
		if err == nil && (!there || time.Since(last.At) >= time.Minute) {
			err = fmt.Errorf("there %v, at %v", there, last.At)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
