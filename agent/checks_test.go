package agent

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

func TestBeats(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(10*time.Second))
		r.beat("service:web-1", skerry.Passing, "fine")
		r.is("service:web-1", "passing fine")
		r.quiet("a beat that says nothing new", func() { r.beat("service:web-1", skerry.Passing, "fine") })
		r.quiet("a new output", func() { r.beat("service:web-1", skerry.Passing, "still fine") })
		r.is("service:web-1", "passing still fine")
		size, changed := r.ledger.Size(), r.Changed()
		r.beat("service:web-1", skerry.Warning, "slow")
		if r.ledger.Size() == size {
			t.Error("a new state was not written")
		}
		<-changed
		// Durable: the folder as it is now has it.
		r.crash(0)
		r.is("service:web-1", "warning slow")
		pass(11 * time.Second)
		r.is("service:web-1", "critical TTL expired (last output before timeout follows): slow")
	})
}

func TestProbesAreReported(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), httpCheck("http://a"))
		synctest.Wait()
		r.is("service:web-1", "passing ")
		r.probes.set("http://a", skerry.Critical, "refused")
		changed := r.Changed()
		pass(10*time.Second + time.Millisecond)
		synctest.Wait()
		r.is("service:web-1", "critical refused")
		<-changed
		r.ok(r.DeregisterCheck(r.ctx(), "service:web-1"))
		runs := r.probes.ran("http://a")
		pass(time.Minute)
		if r.probes.ran("http://a") != runs {
			t.Error("a check that was withdrawn runs on")
		}
		r.has("web-1")
	})
}

func TestDiscardedOutput(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.DiscardOutput = true
		r.register(web(), ttlCheck(time.Minute))
		r.beat("service:web-1", skerry.Passing, "secret")
		r.is("service:web-1", "passing ")
	})
}

func TestABeatAllocatesLittle(t *testing.T) {
	r := open(t, t.TempDir())
	r.register(web(), ttlCheck(time.Hour))
	r.beat("service:web-1", skerry.Passing, "fine")
	if n := testing.AllocsPerRun(1000, func() { r.beat("service:web-1", skerry.Passing, "fine") }); n > 0 {
		t.Errorf("a beat that changes nothing allocates %v times", n)
	}
}

func TestDeregisterCriticalServiceAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		after := func(d time.Duration) skerry.CheckDefinition {
			return skerry.CheckDefinition{TTL: 10 * time.Second, DeregisterCriticalServiceAfter: d}
		}
		r.register(skerry.Instance{ID: "dead", Service: "web"}, after(2*time.Minute), after(3*time.Minute))
		r.register(skerry.Instance{ID: "short", Service: "web"}, after(time.Second))
		r.register(skerry.Instance{ID: "live", Service: "web"}, after(2*time.Minute))
		r.register(skerry.Instance{ID: "other", Service: "web"}, ttlCheck(10*time.Second))
		node := after(time.Minute)
		node.Name = "node"
		r.ok(r.RegisterCheck(r.ctx(), node))
		keep := func(d time.Duration) {
			for ; d > 0; d -= 5 * time.Second {
				r.beat("service:live", skerry.Passing, "")
				pass(5 * time.Second)
			}
		}
		keep(50 * time.Second)
		r.has("dead service:dead:1 service:dead:2; live service:live; other service:other; short service:short") // never before a minute
		keep(20 * time.Second)
		r.has("dead service:dead:1 service:dead:2; live service:live; other service:other")
		r.beat("service:dead:1", skerry.Passing, "") // this one starts over
		keep(120 * time.Second)
		r.has("live service:live; other service:other") // the second check ended it
		r.is("node", "critical TTL expired")
		r.crash(0)
		r.has("live service:live; other service:other")
	})
}

func TestCriticalTimeCountsAnewAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), skerry.CheckDefinition{TTL: 10 * time.Second, DeregisterCriticalServiceAfter: 5 * time.Minute})
		pass(4 * time.Minute)
		r.crash(time.Hour)
		pass(4 * time.Minute)
		r.has("web-1 service:web-1")
		pass(2 * time.Minute)
		r.has("")
	})
}

func BenchmarkRegister(b *testing.B) {
	for _, there := range []int{10, 100_000} {
		b.Run(fmt.Sprint(there), func(b *testing.B) {
			r := open(b, b.TempDir())
			fill(r, there)
			b.ReportAllocs()
			b.ResetTimer()
			// 64 programs at once share their syncs, as behind the HTTP API.
			b.SetParallelism(32)
			next := make(chan int, 1)
			next <- 0
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := <-next
					next <- n + 1
					id := fmt.Sprint("new-", n)
					i := skerry.Instance{ID: id, Service: id, Port: 80}
					r.ok(r.RegisterService(r.ctx(), skerry.Registration{Instance: &i, Checks: []skerry.CheckDefinition{ttlCheck(time.Hour)}}))
				}
			})
		})
	}
}

func fill(r *rig, n int) {
	rs := make([]skerry.Registration, 0, n)
	for i := range n {
		id := fmt.Sprint("there-", i)
		rs = append(rs, skerry.Registration{Instance: &skerry.Instance{ID: id, Service: id, Port: 80}, Checks: []skerry.CheckDefinition{ttlCheck(time.Hour)}})
	}
	_, err := r.ReplaceSet(r.ctx(), rs)
	r.ok(err)
}

func BenchmarkBeat(b *testing.B) {
	for _, there := range []int{10, 100_000} {
		b.Run(fmt.Sprint(there), func(b *testing.B) {
			r := open(b, b.TempDir())
			fill(r, there)
			r.beat("service:there-7", skerry.Passing, "fine")
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.beat("service:there-7", skerry.Passing, "fine")
				}
			})
		})
	}
}
