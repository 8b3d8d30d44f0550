package check

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

func (g *rig) beat(t *testing.T, id string, status skerry.Health, output string) time.Time {
	t.Helper()
	deadline, err := g.Beat(id, status, output)
	if err != nil {
		t.Fatalf("Beat(%q): %v", id, err)
	}
	return deadline
}

func TestTTLExpiresAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		g.start(t, "short", skerry.CheckDefinition{TTL: time.Second, Status: skerry.Passing}, State{})
		g.want(t)
		pass(990 * time.Millisecond)
		g.want(t)
		pass(20 * time.Millisecond)
		g.want(t, "short critical TTL expired")
		pass(time.Minute)
		g.want(t)
		if deadline := g.beat(t, "short", skerry.Passing, "back"); !deadline.Equal(time.Now().Add(time.Second)) {
			t.Errorf("deadline %v, want in a second", deadline)
		}
		g.want(t, "short passing back")
		for range 10 {
			pass(900 * time.Millisecond)
			g.beat(t, "short", skerry.Passing, "back")
		}
		g.want(t)
		pass(1010 * time.Millisecond)
		g.want(t, "short critical TTL expired (last output before timeout follows): back")
	})
}

func TestTTLResumesWithWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		ok := Result{Status: skerry.Passing, Output: "ok"}
		def := skerry.CheckDefinition{TTL: time.Minute}
		g.start(t, "left", def, State{Result: ok, Deadline: time.Now().Add(10 * time.Second)})
		g.start(t, "clock was wrong", def, State{Result: ok, Deadline: time.Now().Add(time.Hour)})
		g.start(t, "over", def, State{Result: Result{Status: skerry.Critical, Output: "TTL expired (last output before timeout follows): ok"}, Deadline: time.Now().Add(-time.Hour)})
		g.want(t)
		pass(11 * time.Second)
		g.want(t, "left critical TTL expired (last output before timeout follows): ok")
		pass(50 * time.Second)
		g.want(t, "clock was wrong critical TTL expired (last output before timeout follows): ok")
	})
}

func TestStallExpiresNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		g.start(t, "a", skerry.CheckDefinition{TTL: 10 * time.Second, Status: skerry.Passing}, State{})
		pass(5 * time.Second)
		synctest.Wait()
		g.stall(time.Hour)
		pass(4 * time.Second)
		g.want(t)
		pass(2 * time.Second)
		g.want(t, "a critical TTL expired")
	})
}

func TestBeatOfTheWrongCheck(t *testing.T) {
	g := newRig(t, passes)
	if err := g.Start("http", &skerry.CheckDefinition{HTTP: "http://a", Interval: time.Hour}, State{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Start("ttl", &skerry.CheckDefinition{TTL: time.Hour}, State{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		id     string
		status skerry.Health
		kind   skerry.Kind
		want   string
	}{
		{"none", skerry.Passing, skerry.NotFound, `Unknown check ID "none". Ensure that the check ID is passed, not the check name.`},
		{"http", skerry.Passing, skerry.Invalid, `CheckID "http" does not have associated TTL`},
		{"ttl", "bogus", skerry.Invalid, `Invalid check status: 'bogus'`},
		{"ttl", "", skerry.Invalid, `Invalid check status: ''`},
	}
	for _, tt := range tests {
		_, err := g.Beat(tt.id, tt.status, "")
		if err == nil || err.Error() != tt.want || skerry.KindOf(err) != tt.kind {
			t.Errorf("Beat(%q, %q) = %v (%v)", tt.id, tt.status, err, skerry.KindOf(err))
		}
	}
}

func TestBeatTruncates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		g.start(t, "out", skerry.CheckDefinition{TTL: time.Hour, OutputMaxSize: 10}, State{})
		g.beat(t, "out", skerry.Passing, "0123456789abcdef")
		g.want(t, "out passing 0123456789 ... (captured 10 of 16 bytes)")
		g.beat(t, "out", skerry.Passing, "0123456789ABCDEF")
		g.want(t)
		g.beat(t, "out", skerry.Passing, "0123456789abcdefg")
		g.want(t, "out passing 0123456789 ... (captured 10 of 17 bytes)")
		g.start(t, "big", skerry.CheckDefinition{TTL: time.Hour, OutputMaxSize: 1 << 30}, State{})
		g.beat(t, "big", skerry.Passing, strings.Repeat("o", 5000))
		g.want(t, "big passing "+strings.Repeat("o", 4096)+" ... (captured 4096 of 5000 bytes)")
	})
}

func TestStoppedTTLChecksLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		for i := range 10_000 {
			g.start(t, "a", skerry.CheckDefinition{TTL: time.Hour}, State{})
			if i%2 == 0 {
				g.Stop("a")
			}
		}
		g.Stop("a")
		g.Runner.mu.Lock()
		if n := len(g.deadlines); n > 200 {
			t.Errorf("%d slots are left of checks that are gone", n)
		}
		if len(g.ttls) != 0 {
			t.Errorf("%d checks are left", len(g.ttls))
		}
		g.Runner.mu.Unlock()
		pass(2 * time.Hour)
		g.want(t)
	})
}

func manyTTLs(tb testing.TB, n int) (*Runner, []string) {
	r := NewRunner(Config{
		Kinds:  Table{{Name: "ttl", Matches: func(d *skerry.CheckDefinition) bool { return d.TTL > 0 }}},
		Report: func(string, Result) {},
	})
	tb.Cleanup(r.Close)
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("service:web-%06d", i)
		if err := r.Start(ids[i], &skerry.CheckDefinition{TTL: time.Minute, Status: skerry.Passing}, State{Result: Result{Output: "ok"}}); err != nil {
			tb.Fatal(err)
		}
	}
	return r, ids
}

func TestBeatAllocatesNothing(t *testing.T) {
	r, ids := manyTTLs(t, 1000)
	long := strings.Repeat("o", 5000)
	if _, err := r.Beat(ids[0], skerry.Passing, long); err != nil {
		t.Fatal(err)
	}
	i := 1
	allocs := testing.AllocsPerRun(5000, func() {
		i = i%999 + 1
		if _, err := r.Beat(ids[i], skerry.Passing, "ok"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Beat(ids[0], skerry.Passing, long); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations in a Beat that changes nothing", allocs)
	}
}

// TestTTLCheckIsSmall holds the promise that 100,000 checks are cheap: 150 bytes
// each, its id and output apart.
func TestTTLCheckIsSmall(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, ids := manyTTLs(t, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	ofIDs := uint64(n * (16 + 24)) // header in the slice, and 18 bytes of text in a 24-byte block
	each := (after.HeapAlloc - before.HeapAlloc - ofIDs) / n
	t.Logf("%d bytes a check", each)
	if each > 150 {
		t.Errorf("%d bytes a check, want at most 150", each)
	}
	runtime.KeepAlive(ids)
	runtime.KeepAlive(r)
}

func BenchmarkBeat(b *testing.B) {
	r, ids := manyTTLs(b, 100_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i++; i == len(ids) {
			i = 0
		}
		if _, err := r.Beat(ids[i], skerry.Passing, "ok"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBeatParallel(b *testing.B) {
	r, ids := manyTTLs(b, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i += 7919 {
			if _, err := r.Beat(ids[i%len(ids)], skerry.Passing, "ok"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
