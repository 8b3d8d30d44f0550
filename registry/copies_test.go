package registry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// sent records what leaves.
type sent struct {
	mu     sync.Mutex
	frames []cluster.Message
}

func (s *sent) Send(_ string, frame []byte) error {
	m, err := decode(slices.Clone(frame))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, m)
	return err
}

// heavy is an answer of so many parts.
func heavy(parts int, repair uint64) cluster.Fetched {
	f := cluster.Fetched{Repair: repair}
	var many []*skerry.Instance
	for i := range defaultMaxFrame / 600 {
		id := fmt.Sprint("web-", i)
		many = append(many, &skerry.Instance{ID: id, Service: "web", Port: 80, Weights: skerry.Weights{Passing: 1, Warning: 1}})
	}
	for i := range parts {
		f.Records = append(f.Records, cluster.Record{
			Owner: skerry.OwnerID(fmt.Sprint("o", i)), Kind: skerry.LeaseOwner, TTL: time.Second, Version: skerry.Version{Epoch: 1, Seq: 1},
			Set: &skerry.Set{Node: &skerry.Node{Name: "n", Address: "10.0.0.1"}, Instances: many},
		})
	}
	return f
}

// A tick does not wait for the parts of a copy, and an answer to a later question takes the place of
// what is left of the one before.
func TestTicksLeaveBeforeCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sent
		p := newPost(defaultMaxFrame, newMetrics(nil, nil), slog.New(slog.DiscardHandler))
		p.connect(&out)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		add := func(ms ...cluster.Message) {
			var all []cluster.Envelope
			for _, m := range ms {
				all = append(all, cluster.Envelope{To: "b", Message: m})
			}
			p.add(all, func(skerry.OwnerID) *skerry.Set { return nil })
		}
		add(heavy(10, 1))
		time.Sleep(3 * gather)
		add(heavy(4, 2), cluster.Tick{})
		time.Sleep(time.Second)
		stop()
		<-done
		var got []string
		for _, m := range out.frames {
			switch m := m.(type) {
			case cluster.Tick:
				got = append(got, "tick")
			case cluster.Fetched:
				got = append(got, fmt.Sprintf("%d.%d/%d", m.Repair, m.Part, m.Parts))
			}
		}
		at := slices.Index(got, "tick")
		if at < 1 || at > 6 || !slices.Equal(got[at+1:], []string{"2.0/4", "2.1/4", "2.2/4", "2.3/4"}) {
			t.Errorf("sent %v", got)
		}
	})
}

// A log with large sets leaves in frames that the bus takes, which follow each other.
func TestALargeLogLeavesInParts(t *testing.T) {
	p := newPost(defaultMaxFrame, newMetrics(nil, nil), slog.New(slog.DiscardHandler))
	var out sent
	p.connect(&out)
	first := cluster.Pos{Life: 3, Seq: 7}
	p.add([]cluster.Envelope{{To: "s2", Message: cluster.Log{First: first, Records: heavy(12, 0).Records}}}, nil)
	p.flush()
	if len(out.frames) < 6 {
		t.Fatalf("the log left in %d frames", len(out.frames))
	}
	for _, m := range out.frames {
		log := m.(cluster.Log)
		if log.First != first || len(log.Records) == 0 || string(log.Records[0].Owner) != fmt.Sprint("o", first.Seq-7) {
			t.Fatalf("a part begins at %v with %s, want %v", log.First, log.Records[0].Owner, first)
		}
		first.Seq += uint64(len(log.Records))
	}
	if first.Seq != 7+12 {
		t.Errorf("the parts end before %d", first.Seq)
	}
}
