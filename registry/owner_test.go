package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/registry"
)

// say gives an owner's message to a server, and returns the answer.
func (w *world) say(at int, id skerry.OwnerID, m cluster.Message) (cluster.Message, error) {
	w.Helper()
	data, err := registry.Encode(m)
	if err != nil {
		w.Fatal(err)
	}
	data, err = w.servers[at].Speaker(id, "a").Hear(data)
	if err != nil || data == nil {
		return nil, err
	}
	answer, err := registry.DecodeFrame(data)
	if err != nil {
		w.Fatal(err)
	}
	w.pass(registry.TickEvery)
	return answer, nil
}

func TestAnAgentsMessages(t *testing.T) {
	w := newWorld(t)
	set := lease("a", 1)
	id, v := skerry.OwnerID("agent/web1"), skerry.Version{Epoch: 100, Seq: 1}
	attach := cluster.Attach{Owner: id, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: v, Digest: set.Digest, Attach: 1}
	answer, err := w.say(0, id, attach)
	if got, is := answer.(cluster.Attached); err != nil || !is || !got.OK || !got.Want {
		t.Fatalf("attach: %+v, %v", answer, err)
	}
	answer, err = w.say(0, id, cluster.Announce{Record: cluster.Record{
		Owner: id, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: v, Digest: set.Digest, Set: set.Set,
		Stand: cluster.Stand{Epoch: 100, Attach: 77, State: cluster.Lost}, Ended: 1, // not an owner's to say
	}})
	if got, is := answer.(cluster.Told); err != nil || !is || got.Want || got.Version != v {
		t.Fatalf("announce: %+v, %v", answer, err)
	}
	w.pass(time.Second)
	w.shows("a:1")
	for range 8 {
		w.pass(time.Second)
		answer, err = w.say(0, id, cluster.Beat{Owner: id, Epoch: 100, Attach: 1, Digest: set.Digest})
		if got, is := answer.(cluster.Beaten); err != nil || !is || !got.OK || got.Want {
			t.Fatalf("beat: %+v, %v", answer, err)
		}
	}
	w.shows("a:1")
	if answer, err := w.say(1, id, cluster.Beat{Owner: id, Epoch: 100, Attach: 1, Digest: set.Digest}); err != nil || !answer.(cluster.Beaten).Reattach {
		t.Errorf("a beat at another server: %+v, %v", answer, err)
	}
	w.pass(7 * time.Second)
	w.shows("")
}

func TestAnAgentSpeaksForItselfAlone(t *testing.T) {
	w := newWorld(t)
	for _, m := range []cluster.Message{
		cluster.Attach{Owner: "agent/other", TTL: time.Second}, cluster.Announce{Record: cluster.Record{Owner: "agent/other"}}, cluster.Beat{Owner: "agent/other"},
		cluster.Attach{Owner: "agent/web1", Kind: skerry.LeaseOwner, TTL: time.Second},
		cluster.Announce{Record: cluster.Record{Owner: "agent/web1", Kind: skerry.AgentOwner, TTL: time.Second, Version: skerry.Version{Epoch: 1, Seq: 1}, Set: lease("b", 1).Set}},
	} {
		if _, err := w.say(0, "agent/web1", m); skerry.KindOf(err) != skerry.Denied {
			t.Errorf("%T for another owner: %v", m, err)
		}
	}
	if _, err := w.say(0, "agent/web1", cluster.Attach{Owner: "agent/web1", Kind: skerry.AgentOwner}); err == nil {
		t.Error("an attachment without a TTL is taken")
	}
	if answer, err := w.say(0, "agent/web1", cluster.Tick{}); answer != nil || err != nil {
		t.Errorf("a tick of an agent: %+v, %v", answer, err)
	}
}

// An agent has a bounded number of records, whole or by changes.
func TestAnAgentHasBoundedRecords(t *testing.T) {
	w := newWorld(t)
	const id = skerry.OwnerID("agent/web1")
	if _, err := w.say(0, id, cluster.Attach{Owner: id, Kind: skerry.AgentOwner, TTL: time.Hour, Attach: 1}); err != nil {
		t.Fatal(err)
	}
	many := func(n int) (out []*skerry.Instance) {
		for i := range n {
			out = append(out, &skerry.Instance{ID: fmt.Sprint("i", i), Service: "web"})
		}
		return out
	}
	announce := func(seq uint64, set *skerry.Set, delta *skerry.Delta) error {
		r := cluster.Record{Owner: id, Kind: skerry.AgentOwner, TTL: time.Hour, Version: skerry.Version{Epoch: 1, Seq: seq}, Set: set, Delta: delta}
		if delta != nil {
			r.Base = skerry.Version{Epoch: 1, Seq: seq - 1}
		}
		_, err := w.say(0, id, cluster.Announce{Record: r})
		return err
	}
	node := &skerry.Node{Name: "a", Address: "10.0.0.1"}
	if err := announce(1, &skerry.Set{Node: node, Instances: many(12_000)}, nil); skerry.KindOf(err) != skerry.Exhausted {
		t.Errorf("12,000 instances at once: %v", err)
	}
	if err := announce(1, &skerry.Set{Node: node, Instances: many(10_000)}, nil); err != nil {
		t.Errorf("10,000 instances: %v", err)
	}
	if err := announce(2, nil, &skerry.Delta{Instances: many(12_000)}); skerry.KindOf(err) != skerry.Exhausted {
		t.Errorf("12,000 in a change: %v", err)
	}
}

func FuzzOwner(f *testing.F) {
	for _, m := range []cluster.Message{
		cluster.Attach{Owner: "agent/web1", TTL: time.Second, Version: skerry.Version{Epoch: 1, Seq: 1}, Attach: 1},
		cluster.Announce{Record: cluster.Record{Owner: "agent/web1", Version: skerry.Version{Epoch: 1, Seq: 1}, Set: lease("a", 1).Set}},
		cluster.Announce{Record: cluster.Record{Owner: "agent/web1", Version: skerry.Version{Epoch: 1, Seq: 2}, Gone: true}},
		cluster.Beat{Owner: "agent/web1", Epoch: 1, Attach: 1},
	} {
		data, err := registry.Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, data)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		s := newServer("s1", 1, catalog.Config{Now: func() time.Time { return now }, After: func(_ time.Duration, f func()) { f() }})
		plain, judged := s.Speaker("agent/web1", "a"), s.Speaker("agent/web1", "a")
		judged.JudgeBy(&verdicts{tokens: map[string]string{"": "a"}})
		for _, data := range [][]byte{one, two, one} {
			plain.Hear(data)
			judged.Hear(data)
			now = now.Add(time.Second)
			s.Tick()
		}
	})
}
