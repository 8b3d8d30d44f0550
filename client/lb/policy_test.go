package lb

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestPolicyNames(t *testing.T) {
	for p := P2C; p <= Prequal; p++ {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("random"); err == nil {
		t.Error("random is taken for a policy")
	}
}

// In each round, each instance has its turn once, and as often as it weighs in many.
func TestRoundRobin(t *testing.T) {
	b := New(Options{Policy: RoundRobin, SlowStart: -1})
	nodes := someNodes(5)
	b.Update(0, nodes)
	for range 100 {
		for key, share := range shares(b, 0, len(nodes), fine) {
			if share != 1/float64(len(nodes)) {
				t.Fatalf("%s has %v of a round", key, share)
			}
		}
	}
	nodes[0].Weight = 3
	b.Update(0, nodes)
	got := shares(b, 0, 700, fine)
	for i, n := range nodes {
		want := 1. / 7
		if i == 0 {
			want = 3. / 7
		}
		if math.Abs(got[n.Key]-want) > .01 {
			t.Errorf("%s has a share of %.3f, want %.3f", n.Key, got[n.Key], want)
		}
	}
	for range consecutiveFailures {
		b.judge(0, nodes[1].Key, func(s *standing) change { return s.try(0, Failed) })
	}
	if got := shares(b, 0, 600, fine); got[nodes[1].Key] != 0 {
		t.Errorf("one that fails has a share of %v", got[nodes[1].Key])
	}
}

// where returns where calls with many hashes go.
func where(b *Balancer, exclude func(*Node) bool) map[uint64]string {
	all := map[uint64]string{}
	for i := range 3_000 {
		h := HashOf(fmt.Sprint("customer-", i))
		c := b.Pick(0, Request{Hash: h, Exclude: exclude})
		all[h] = c.Node.Key
		c.Done(0, OK)
	}
	return all
}

func TestHash(t *testing.T) {
	nodes := someNodes(10)
	b, other := New(Options{Policy: Hash}), New(Options{Policy: Hash})
	b.Update(0, nodes)
	other.Update(0, []Node{nodes[3], nodes[1], nodes[0], nodes[2], nodes[9], nodes[8], nodes[7], nodes[6], nodes[5], nodes[4]})
	before := where(b, nil)
	count := map[string]int{}
	for h, key := range where(other, nil) {
		if before[h] != key {
			t.Fatal("two callers disagree")
		}
		count[key]++
	}
	for key, n := range count {
		if n < 180 || n > 420 {
			t.Errorf("%s has %d of 3,000", key, n)
		}
	}
	moved := func(what, from string, after map[uint64]string) {
		for h, key := range after {
			if before[h] != key && before[h] != from {
				t.Fatalf("%s: a call has moved from %s, to %s", what, before[h], key)
			}
			if key == from {
				t.Fatalf("%s: a call goes there still", what)
			}
		}
	}
	gone := nodes[4].Key
	moved("tried", gone, where(b, func(n *Node) bool { return n.Key == gone }))
	b.Eject(0, gone, "it hangs")
	moved("out", gone, where(b, nil))
	b.Update(0, append(append([]Node{}, nodes[:4]...), nodes[5:]...))
	moved("removed", gone, where(b, nil))
	b.Update(0, nodes)
	for h, key := range where(b, nil) {
		if before[h] != key {
			t.Fatal("with all of them back, calls go elsewhere")
		}
	}
}

// One hash that everybody asks for does not overload its instance.
func TestHashIsBounded(t *testing.T) {
	b := New(Options{Policy: Hash})
	b.Update(0, someNodes(4))
	count := map[string]int{}
	for range 400 {
		count[b.Pick(0, Request{Hash: 7}).Node.Key]++
	}
	for key, n := range count {
		if float64(n) > math.Ceil(boundedLoad*100) {
			t.Errorf("%s has %d calls in flight of 400", key, n)
		}
	}
	if len(count) != 4 {
		t.Errorf("%d instances have calls", len(count))
	}
	b.Update(0, nil)
	if b.Pick(0, Request{Hash: 7}) != nil {
		t.Error("a call goes nowhere")
	}
}

// The coldest and fastest is taken, as long as answers are fresh.
func TestPrequal(t *testing.T) {
	b := New(Options{Policy: Prequal})
	nodes := someNodes(10)
	b.Update(0, nodes)
	if n := len(b.Ask()); n == 0 || n > asksPerCall {
		t.Errorf("%d are asked", n)
	}
	if len(New(Options{}).Ask()) != 0 {
		t.Error("another policy asks")
	}
	tell := func(now time.Duration) {
		b.Told(now, "another", Load{})
		b.Told(now, nodes[0].Key, Load{InFlight: 50, Latency: time.Microsecond}) // hot
		b.Told(now, nodes[1].Key, Load{InFlight: 1, Latency: 20 * time.Millisecond})
		b.Told(now, nodes[2].Key, Load{InFlight: 2, Latency: 3 * time.Millisecond})
		b.Told(now, nodes[3].Key, Load{InFlight: 1, Latency: 9 * time.Millisecond})
	}
	tell(0)
	if c := b.Pick(0, Request{}); c.Node.Key != nodes[2].Key {
		t.Errorf("%s was taken, want the fastest that is not hot, %s", c.Node.Key, nodes[2].Key)
	}
	tell(2 * time.Second)
	got := map[string]bool{}
	for range 200 {
		got[b.Pick(4*time.Second, Request{}).Node.Key] = true
	}
	if len(got) < len(nodes) {
		t.Errorf("with answers that are old, only %v are taken", got)
	}
}

func TestTracker(t *testing.T) {
	var tr Tracker
	if l := tr.Load(0); l != (Load{}) {
		t.Errorf("before any call: %+v", l)
	}
	for i := range 20 {
		first := tr.Begin()
		if i%2 == 0 {
			second := tr.Begin()
			tr.End(time.Second, second, 30*time.Millisecond)
		}
		tr.End(time.Second, first, 10*time.Millisecond)
	}
	if l := tr.Load(time.Second); l != (Load{0, 10 * time.Millisecond}) {
		t.Errorf("idle: %+v", l)
	}
	tr.Begin()
	if l := tr.Load(time.Second); l != (Load{1, 30 * time.Millisecond}) {
		t.Errorf("beside another: %+v", l)
	}
	if l := tr.Load(time.Second + 10*trackedDecay); l.Latency > 10*time.Microsecond {
		t.Errorf("long after: %+v", l)
	}
}

func TestStates(t *testing.T) {
	b := New(Options{SlowStart: 10 * time.Second})
	nodes := someNodes(4)
	nodes[1].Weight, nodes[1].Zone, nodes[2].Down, nodes[3].Started = 2, "a", true, time.Second
	b.Update(time.Second, nodes)
	key := func(i int) string { return nodes[i].Key }
	for range consecutiveFailures {
		b.Pick(time.Second, Request{Exclude: func(n *Node) bool { return n.Key != key(0) }}).Done(time.Second+ms, Failed)
	}
	shares(b, time.Second, 100, fine)
	c := b.Pick(time.Second+200*ms, Request{})
	for i, s := range b.States(time.Second + 200*ms) {
		switch {
		case s.Key != key(i):
			t.Errorf("%d is %s", i, s.Key)
		case i == 0 && (!s.Out || s.Failed != 3 || s.Ejected != 1 || s.Cause != Consecutive || s.Reason != "3 calls in a row failed" || s.ProbeIn <= 0 || s.Success > .8):
			t.Errorf("the one that fails: %+v", s)
		case i == 1 && (s.Out || s.Weight != 2 || s.Zone != "a" || s.OK == 0 || s.Success != 1 || s.Share < .5 || s.Latency == 0 || s.Ready != 1):
			t.Errorf("the one that works: %+v", s)
		case i == 2 && (!s.Down || s.OK != 0):
			t.Errorf("the one without a connection: %+v", s)
		case i == 3 && s.Ready > .2:
			t.Errorf("the new one: %+v", s)
		case s.Key == c.Node.Key && s.InFlight != 1:
			t.Errorf("the one with a call: %+v", s)
		}
	}
}
