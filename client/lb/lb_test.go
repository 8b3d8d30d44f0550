package lb

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const ms = time.Millisecond

// shares returns how often each of the nodes is picked, when calls take a
// millisecond each and never overlap.
func shares(p Picker, from time.Duration, calls int, end func(key string) Result) map[string]float64 {
	got := map[string]float64{}
	for i := range calls {
		now := from + time.Duration(i)*ms
		c := p.Pick(now, Request{})
		key := c.Node.Key
		got[key] += 1 / float64(calls)
		c.Done(now+ms, end(key))
	}
	return got
}

func fine(string) Result { return OK }

func TestNobodyToCall(t *testing.T) {
	b := New(Options{})
	if c := b.Pick(0, Request{}); c != nil {
		t.Errorf("picked %v of none", c.Node)
	}
	b.Update(0, []Node{{Key: "a", Down: true}})
	if c := b.Pick(0, Request{}); c != nil {
		t.Errorf("picked %v, which is down", c.Node)
	}
}

func TestWeights(t *testing.T) {
	b := New(Options{})
	b.Update(0, []Node{{Key: "a", Weight: 1}, {Key: "b", Weight: 2}, {Key: "c", Weight: 5}})
	got := shares(b, 0, 40_000, fine)
	for key, want := range map[string]float64{"a": .125, "b": .25, "c": .625} {
		// The second of two draws is another than the first: a heavy one gets a little less.
		if math.Abs(got[key]-want) > .12 {
			t.Errorf("%s takes %.3f, want about %.3f", key, got[key], want)
		}
	}
}

func TestTheCallsWithoutAnAnswerCount(t *testing.T) {
	b := New(Options{})
	b.Update(0, []Node{{Key: "a"}, {Key: "b"}})
	shares(b, 0, 100, fine)
	hung := b.Pick(time.Second, Request{Exclude: func(n *Node) bool { return n.Key == "b" }})
	got := shares(b, 3*time.Second, 1000, fine)
	if got["a"] != 0 {
		t.Errorf("%.3f of the calls go to an instance that has not answered for two seconds", got["a"])
	}
	hung.Done(4*time.Second, OK)
	if got := shares(b, 60*time.Second, 1000, fine); got["a"] < .3 {
		t.Errorf("it takes %.3f a minute later", got["a"])
	}
}

// A stream that stays open says nothing by its age, and counts as load.
func TestStreams(t *testing.T) {
	b := New(Options{})
	b.Update(0, []Node{{Key: "a"}, {Key: "b"}})
	shares(b, 0, 100, fine)
	b.Pick(time.Second, Request{Stream: true, Exclude: func(n *Node) bool { return n.Key == "b" }})
	var flying []*Call
	got := map[string]int{}
	for i := range 1000 {
		now := time.Hour + time.Duration(i)*ms
		c := b.Pick(now, Request{})
		got[c.Node.Key]++
		if flying = append(flying, c); len(flying) == 6 {
			flying[0].Done(now, OK)
			flying = flying[1:]
		}
	}
	if got["a"] < 200 || got["a"] > 600 {
		t.Errorf("with a stream open for an hour it takes %d of 1,000 calls", got["a"])
	}

	b = New(Options{})
	b.Update(0, someNodes(4))
	open := map[string]int{}
	for i := range 400 {
		c := b.Pick(time.Duration(i)*time.Second, Request{Stream: true})
		if open[c.Node.Key]++; i%10 == 0 {
			open[c.Node.Key]--
			c.Done(time.Duration(i+1)*time.Second, OK)
		}
	}
	for key, n := range open {
		if n < 80 || n > 100 {
			t.Errorf("%s has %d of 360 open streams, want about 90", key, n)
		}
	}

	b = New(Options{Probed: true})
	b.Update(0, someNodes(4))
	for range consecutiveFailures {
		b.Pick(0, Request{Stream: true, Exclude: func(n *Node) bool { return n.Key != someNodes(1)[0].Key }}).Done(0, Failed)
	}
	if v := b.view.Load(); len(v.out) != 1 {
		t.Errorf("%d instances are out whose streams fail, want 1", len(v.out))
	}
}

func TestExclude(t *testing.T) {
	b := New(Options{})
	b.Update(0, someNodes(5))
	not := func(keys ...string) func(*Node) bool {
		return func(n *Node) bool { return slices.Contains(keys, n.Key) }
	}
	nodes := someNodes(5)
	for range 100 {
		if c := b.Pick(0, Request{Exclude: not(nodes[0].Key, nodes[1].Key, nodes[2].Key, nodes[3].Key)}); c.Node.Key != nodes[4].Key {
			t.Fatalf("picked %s, which is excluded", c.Node.Key)
		}
	}
	if c := b.Pick(0, Request{Exclude: func(*Node) bool { return true }}); c == nil {
		t.Error("where all are excluded, one that is excluded is better than none")
	}
}

// An instance that fails is taken out, and let in after good probes, slowly.
func TestOutAndIn(t *testing.T) {
	var events []Event
	b := New(Options{Probed: true, Observe: func(e Event) { events = append(events, e) }})
	b.Update(0, someNodes(10))
	bad := someNodes(1)[0].Key
	got := shares(b, 0, 10_000, func(key string) Result {
		if key == bad {
			return Failed
		}
		return OK
	})
	if len(events) != 1 || !events[0].Out || events[0].Node.Key != bad || got[bad] > .0004 {
		t.Fatalf("after three failures: %+v, share %.3f", events, got[bad])
	}
	now := 20 * time.Second
	for good := range goodProbes {
		due, _ := b.Probes(now)
		if len(due) != 1 || due[0].Key != bad {
			t.Fatalf("to be probed: %v", due)
		}
		if again, _ := b.Probes(now + ms); len(again) != 0 {
			t.Fatalf("probed twice at once: %v", again)
		}
		if len(events) != 1 {
			t.Fatalf("let in after %d good probes", good)
		}
		b.Probe(now+ms, bad, true)
		_, next := b.Probes(now + 2*ms)
		if good < goodProbes-1 && next != now+ms+probeEvery {
			t.Fatalf("the next probe is at %v, want %v", next, now+ms+probeEvery)
		}
		now += probeEvery + ms
	}
	if len(events) != 2 || events[1].Out {
		t.Fatalf("after %d good probes: %+v", goodProbes, events)
	}
	if got := shares(b, now, 1000, fine); got[bad] > .05 || got[bad] == 0 {
		t.Errorf("in the first second it takes %.3f of the calls", got[bad])
	}
	if got := shares(b, now+10*time.Second, 10_000, fine); got[bad] < .07 {
		t.Errorf("later it takes %.3f of the calls", got[bad])
	}
}

// One that is known not to answer need not fail three calls first.
func TestEject(t *testing.T) {
	var events []Event
	b := New(Options{Probed: true, Observe: func(e Event) { events = append(events, e) }})
	b.Update(0, someNodes(3))
	bad := someNodes(1)[0].Key
	b.Eject(0, bad, "it hangs")
	b.Eject(0, bad, "it hangs still")
	b.Eject(0, "another", "it hangs")
	if got := shares(b, 0, 1000, fine); len(events) != 1 || !events[0].Out || events[0].Reason != "it hangs" || got[bad] != 0 {
		t.Errorf("%+v, share %.3f", events, got[bad])
	}
	for now := 2 * time.Second; len(events) == 1 && now < time.Minute; now += probeEvery {
		if due, _ := b.Probes(now); len(due) > 0 {
			b.Probe(now, bad, true)
		}
	}
	if len(events) != 2 || events[1].Out {
		t.Errorf("after good probes: %+v", events)
	}
}

// When others fail as well, silence is no reason.
func TestSilenceEverywhere(t *testing.T) {
	b := New(Options{Probed: true})
	nodes := someNodes(4)
	b.Update(0, nodes)
	var calls []*Call
	for range 12 {
		calls = append(calls, b.Pick(ms, Request{}))
	}
	unheard := 0
	for _, c := range calls {
		if c.Unheard() {
			unheard++
		}
		c.Done(2*time.Second, Failed)
	}
	if unheard > 0 {
		t.Errorf("%d of 12 calls that timed out everywhere are suspicious", unheard)
	}
	for _, n := range nodes {
		b.Eject(2*time.Second, n.Key, "no answer")
	}
	out := 0
	for _, s := range b.States(2 * time.Second) {
		if s.Out {
			out++
		}
	}
	if out > 0 {
		t.Errorf("%d of 4 are out", out)
	}
}

func TestUnheard(t *testing.T) {
	b := New(Options{})
	b.Update(0, someNodes(1))
	one, two, three := b.Pick(1, Request{}), b.Pick(5*ms, Request{}), b.Pick(7*ms, Request{})
	two.Done(6*ms, OK)
	if one.Unheard() || !three.Unheard() {
		t.Errorf("one is unheard: %v, three is: %v", one.Unheard(), three.Unheard())
	}
}

// try takes a result in, and its consequence.
func (s *standing) try(now time.Duration, r Result) change {
	if v := s.called(now, r); v.cause != "" {
		return s.eject(now, v.cause, v.reason())
	}
	return unchanged
}

func TestABadProbeWaitsLonger(t *testing.T) {
	s := standing{max: 10 * time.Second, random: func() float64 { return .5 }}
	for range consecutiveFailures {
		s.try(0, Failed)
	}
	now := time.Duration(0)
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
		if got := s.probeAt - now; got != want {
			t.Errorf("out for %v, want %v", got, want)
		}
		now = s.probeAt
		if !s.due(now) {
			t.Fatal("no probe is due")
		}
		s.probed(now, false)
	}
}

// What returns is held to more than what has never been out.
func TestRelapse(t *testing.T) {
	for _, tc := range []struct {
		calls string // after its return
		times int    // that it was out before
		out   bool
	}{
		{"x", 1, false},
		{"x....x", 1, true}, // two of the first ten
		{"x..........x", 1, false},
		{"...........x", 2, false},
		{"....x", 2, true},
	} {
		s := standing{max: 10 * time.Second, random: func() float64 { return .5 }}
		for range tc.times {
			s.eject(0, NoAnswer, "")
			for range goodProbes {
				s.probed(s.probeAt, true)
			}
		}
		for _, c := range tc.calls {
			s.try(s.letIn+time.Second, map[rune]Result{'.': OK, 'x': Failed}[c])
		}
		if s.out != tc.out {
			t.Errorf("%s after %d times out: out is %v", tc.calls, tc.times, s.out)
		}
	}
}

func TestStanding(t *testing.T) {
	results := func(text string) (rs []Result) {
		for _, c := range text {
			rs = append(rs, map[rune]Result{'.': OK, 'x': Failed, 'p': Pushback, 'n': Neutral}[c])
		}
		return rs
	}
	for _, tc := range []struct {
		calls string
		out   bool
	}{
		{"xx.xx", true}, // 4 of 5
		{"xx", false},
		{"xxx", true},
		{"x.x..", false},
		{"x.x.x", true},
		{".....xx.....", false},
		{"....................x.x.x", true}, // 3 of the last 5, whatever was before
		{"....................x..x..", false},
		{"...x..x..x", true},                    // 30 % of 10
		{"x..................x", false},         // 10 % of 20
		{"pppppppppp", false},                   // wants rest, not death
		{"nnnnnnnnnn", false},                   // says nothing
		{"xnpxnp.xx", true},                     // what says nothing does not count
		{"xx" + ".....................", false}, // long past
	} {
		s := standing{max: 10 * time.Second, random: func() float64 { return .5 }}
		for _, r := range results(tc.calls) {
			s.try(0, r)
		}
		if s.out != tc.out {
			t.Errorf("%s: out is %v", tc.calls, s.out)
		}
	}
}

// When calls fail everywhere alike, nobody is taken out; one that fails more often is.
func TestNobodyIsWorse(t *testing.T) {
	for _, tc := range []struct {
		name         string
		others, bad  int // of ten calls, those that fail
		few, outMost int // how many instances are out, at least and at most
	}{
		{"all fail half", 5, 5, 0, 1},
		{"all fail", 10, 10, 0, 1}, // whoever fails first is out before the others have said anything
		{"one fails, the others now and then", 1, 9, 1, 2},
		{"one fails half, the others never", 0, 5, 1, 1},
	} {
		b := New(Options{Probed: true})
		nodes := someNodes(8)
		b.Update(0, nodes)
		calls := map[string]int{}
		for i := range 8000 {
			now := time.Duration(i) * ms
			c := b.Pick(now, Request{})
			fails, r := tc.others, OK
			if c.Node.Key == nodes[0].Key {
				fails = tc.bad
			}
			calls[c.Node.Key]++
			if calls[c.Node.Key]*fails%10 < fails {
				r = Failed
			}
			c.Done(now+ms, r)
		}
		out := 0
		for _, s := range b.States(8 * time.Second) {
			if s.Out {
				out++
			}
		}
		if out < tc.few || out > tc.outMost {
			t.Errorf("%s: %d of 8 are out, want %d to %d", tc.name, out, tc.few, tc.outMost)
		}
	}
}

// When most are out, all are used: it may well be the caller.
func TestPanic(t *testing.T) {
	b := New(Options{Probed: true})
	b.Update(0, someNodes(10))
	bad := map[string]bool{}
	for _, n := range someNodes(6) {
		bad[n.Key] = true
	}
	result := func(key string) Result {
		if bad[key] {
			return Failed
		}
		return OK
	}
	shares(b, 0, 60_000, result)
	if v := b.view.Load(); len(v.out) <= 5 || len(v.all.members) != 10 {
		t.Errorf("%d are out and %d used of 10", len(v.out), len(v.all.members))
	}
}

func TestSlowStart(t *testing.T) {
	b := New(Options{})
	nodes := someNodes(10)
	nodes[0].Started = 100 * time.Second
	b.Update(100*time.Second, nodes)
	first := shares(b, 100*time.Second, 2000, fine)[nodes[0].Key]
	later := shares(b, 120*time.Second, 20_000, fine)[nodes[0].Key]
	if first > .04 || first == 0 || later < .07 {
		t.Errorf("a new instance takes %.3f at first and %.3f later", first, later)
	}
	for i := range nodes {
		nodes[i].Started = 200 * time.Second
	}
	b.Update(200*time.Second, nodes)
	for _, m := range b.view.Load().all.members {
		if m.slow != 0 {
			t.Error("where all are new, none starts slowly")
		}
	}
}

func TestZones(t *testing.T) {
	nodes := func(counts map[string]int) (all []Node) {
		for zone, n := range counts {
			for i := range n {
				all = append(all, Node{Key: fmt.Sprint(zone, i), Zone: zone})
			}
		}
		return all
	}
	for _, tc := range []struct {
		counts  map[string]int
		callers map[string]float64
		want    map[string]float64
	}{
		{map[string]int{"a": 10, "b": 10}, nil, map[string]float64{"a": 1}},
		{map[string]int{"a": 20, "b": 10}, nil, map[string]float64{"a": 1}},
		{map[string]int{"a": 5, "b": 15}, nil, map[string]float64{"a": .5, "b": .5}},
		{map[string]int{"a": 2, "b": 4, "c": 6}, nil, map[string]float64{"a": .5, "c": .5}},
		{map[string]int{"b": 4, "c": 4}, nil, map[string]float64{"b": .5, "c": .5}},
		{map[string]int{"a": 5, "b": 15}, map[string]float64{"a": .25, "b": .75}, map[string]float64{"a": 1}},
	} {
		b := New(Options{Zone: "a", Callers: tc.callers})
		b.Update(0, nodes(tc.counts))
		got := map[string]float64{}
		for key, share := range shares(b, 0, 20_000, fine) {
			got[key[:1]] += share
		}
		for zone := range tc.counts {
			if math.Abs(got[zone]-tc.want[zone]) > .03 {
				t.Errorf("of %v, callers %v: zone %s takes %.3f, want %.2f", tc.counts, tc.callers, zone, got[zone], tc.want[zone])
			}
		}
	}
}

// 300 callers of 1,000 instances with 32 each, while instances are replaced one by
// one: how evenly they are used, and how many connections each change costs a caller.
func TestSubsets(t *testing.T) {
	const callers, instances, changes = 300, 1000, 20
	for _, tc := range []struct {
		name      string
		of        func(caller int) Subset
		maxToMean float64
		perChange float64
	}{
		{"rendezvous", func(i int) Subset { return Subset{Client: fmt.Sprint("caller-", i)} }, 2.3, .2},
		{"ring", func(i int) Subset { return Subset{Position: (float64(i) + .5) / callers} }, 1.1, .2},
	} {
		nodes := someNodes(instances)
		before := make([]map[string]bool, callers)
		used := func() []map[string]bool {
			sets := make([]map[string]bool, callers)
			for i := range sets {
				sets[i] = map[string]bool{}
				for _, n := range tc.of(i).Of(nodes, func(key string) bool { return before[i][key] }) {
					sets[i][n.Key] = true
				}
			}
			return sets
		}
		before = used()
		connections := 0
		for change := range changes {
			nodes[change*19%instances].Key = fmt.Sprint("new-", change)
			after := used()
			for i := range after {
				for key := range after[i] {
					if !before[i][key] {
						connections++
					}
				}
			}
			before = after
		}
		count := map[string]int{}
		for _, s := range before { // after all the changes
			for key := range s {
				count[key]++
			}
		}
		most := 0
		for _, n := range count {
			most = max(most, n)
		}
		if ratio := float64(most) / (32. * callers / instances); ratio > tc.maxToMean || len(count) < instances {
			t.Errorf("%s: the most used instance has %.2f times the mean", tc.name, ratio)
		} else {
			t.Logf("%s: max/mean %.2f, %d of %d instances used", tc.name, ratio, len(count), instances)
		}
		per := float64(connections) / callers / changes
		if per > tc.perChange {
			t.Errorf("%s: %.3f connections for each caller and change", tc.name, per)
		}
		t.Logf("%s: %.3f connections for each caller and change", tc.name, per)
	}
}

// Statistics survive updates, and everything may happen at once.
func TestConcurrent(t *testing.T) {
	b := New(Options{Zone: "a"})
	start := time.Now()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				c := b.Pick(time.Since(start), Request{Retryable: i%2 == 0})
				if c != nil {
					c.Done(time.Since(start), Result((i+w)%4))
				}
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			due, _ := b.Probes(time.Since(start))
			for _, n := range due {
				b.Probe(time.Since(start), n.Key, true)
			}
		}
	})
	for i := range 2000 {
		nodes := someNodes(i % 20)
		for j := range nodes {
			nodes[j].Zone = string(rune('a' + j%3))
		}
		b.Update(time.Since(start), nodes)
	}
	stop.Store(true)
	wg.Wait()
	for _, s := range b.stats {
		if s.flying.Load() != 0 || s.oldest.Load() != none || s.first != nil {
			t.Errorf("%s has %d calls left over", s.key, s.flying.Load())
		}
	}
}
