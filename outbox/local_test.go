package outbox_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/catalog/catalogtest"
	"github.com/skerryhq/skerry/outbox"
)

func TestLocal(t *testing.T) {
	catalogtest.RunEventually(t, func(_ *testing.T, cfg catalog.Config, pass func(time.Duration)) catalogtest.Cluster {
		table := catalog.New(cfg)
		log := slog.New(slog.DiscardHandler)
		return catalogtest.Cluster{
			// Two carriers to one table, as an owner that attaches anew has.
			Carriers: []skerry.Carrier{outbox.NewLocal(table, log), outbox.NewLocal(table, log)},
			Catalogs: []skerry.Catalog{table},
			Settle:   func() { pass(cfg.OutputEvery) },
		}
	})
}

// source is an owner that cannot be asked while it changes, as an agent's lock has it.
type source struct {
	mu      sync.Mutex
	version skerry.Version
	set     skerry.Set
	asked   chan struct{}
}

func (s *source) Whole() (skerry.Version, uint64, *skerry.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asked <- struct{}{} }()
	set := s.set
	return s.version, set.Digest(), &set
}

// A delta that the catalog cannot apply makes it ask for the whole set, without the owner's
// lock.
func TestWholeSetInPlaceOfALostDelta(t *testing.T) {
	table := catalog.New(catalog.Config{})
	s := &source{version: skerry.Version{Epoch: 1, Seq: 1}, set: skerry.Set{Node: &skerry.Node{Name: "n"}}, asked: make(chan struct{}, 2)}
	box := outbox.NewLocal(table, slog.New(slog.DiscardHandler)).Carry("o", skerry.AgentOwner, 0, s)
	<-s.asked
	s.mu.Lock()
	s.set.Instances = []*skerry.Instance{{ID: "a", Service: "web"}, {ID: "b", Service: "web"}}
	s.version.Seq = 3 // the delta that led to 2 is lost
	box.Changed(s.version, skerry.Version{Epoch: 1, Seq: 2}, skerry.Delta{Instances: s.set.Instances[1:]}, s.set.Digest())
	s.mu.Unlock()
	<-s.asked
	for len(table.Service("web").Entries) != 2 {
		index, changed := table.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"})
		if len(table.Service("web").Entries) == 2 {
			break
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("the whole set has not come, index %d", index)
		}
	}
	if _, digest, ok := table.Known("o"); !ok || digest != s.set.Digest() {
		t.Errorf("digest %x, %v", digest, ok)
	}
}

// held is an owner whose sets are handed out when the test says so.
type held struct{ sets chan announced }

type announced struct {
	version skerry.Version
	set     *skerry.Set
}

func (h held) Whole() (skerry.Version, uint64, *skerry.Set) {
	a := <-h.sets
	return a.version, a.set.Digest(), a.set
}

// A whole set that arrives after a newer one is passed over without a word.
func TestAWholeSetThatWasPassed(t *testing.T) {
	var log bytes.Buffer
	table, h := catalog.New(catalog.Config{}), held{make(chan announced)}
	give := func(seq uint64) {
		h.sets <- announced{skerry.Version{Epoch: 1, Seq: seq}, &skerry.Set{Node: &skerry.Node{Name: "n"}, Instances: []*skerry.Instance{{ID: "a", Service: "web", Port: int(seq)}}}}
	}
	go give(1)
	box := outbox.NewLocal(table, slog.New(slog.NewTextHandler(&log, nil))).Carry("o", skerry.AgentOwner, 0, h)
	// A change without its base in the catalog: a whole set is wanted.
	box.Changed(skerry.Version{Epoch: 1, Seq: 3}, skerry.Version{Epoch: 1, Seq: 2}, skerry.Delta{}, 0)
	give(5)
	shows := func(port int) {
		t.Helper()
		late := time.After(time.Minute)
		for {
			_, changed := table.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"})
			if table.Service("web").Entries[0].Instance.Port == port {
				return
			}
			select {
			case <-changed:
			case <-late:
				t.Fatalf("port %d is never shown", port)
			}
		}
	}
	shows(5)
	box.Changed(skerry.Version{Epoch: 1, Seq: 8}, skerry.Version{Epoch: 1, Seq: 7}, skerry.Delta{}, 0)
	give(4) // it was taken before 5
	box.Changed(skerry.Version{Epoch: 1, Seq: 9}, skerry.Version{Epoch: 1, Seq: 8}, skerry.Delta{}, 0)
	give(9)
	shows(9)
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
}
