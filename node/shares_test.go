package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/link"
)

// The agent of a node sends as fast as its share allows, over all of its streams, and has no more after it opened a new one.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shares
		took := func(stream *paced, n int) time.Duration {
			began := time.Now()
			for range n {
				if err := stream.messages.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(began)
		}
		one, leftOne := s.enter(t.Context(), &link.Stream{Node: "web1"})
		two, leftTwo := s.enter(t.Context(), &link.Stream{Node: "web1"})
		other, leftOther := s.enter(t.Context(), &link.Stream{Node: "web2"})
		defer leftOther()
		if got := took(one, messageBurst/2) + took(two, messageBurst/2) + took(other, messageBurst); got > 0 {
			t.Errorf("what comes at once waits for %v", got)
		}
		if got := took(two, 2*messagesPerSecond); got < 1900*time.Millisecond || got > 2100*time.Millisecond {
			t.Errorf("%d more messages take %v, want 2s", 2*messagesPerSecond, got)
		}
		leftOne()
		leftTwo()
		s.sweep()
		again, left := s.enter(t.Context(), &link.Stream{Node: "web1"})
		if got := took(again, messagesPerSecond); got < 900*time.Millisecond {
			t.Errorf("a new stream has a share of its own: %d messages take %v", messagesPerSecond, got)
		}
		left()
		time.Sleep(time.Minute)
		s.sweep()
		if len(s.nodes) != 1 {
			t.Errorf("%d shares are kept, want that of web2", len(s.nodes))
		}
	})
}
