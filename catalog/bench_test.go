package catalog_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

func instanceOf(id, service string) *skerry.Instance {
	return &skerry.Instance{ID: id, Service: service, Port: 80, Weights: skerry.Weights{Passing: 1, Warning: 1}}
}

func ttlCheckOf(i *skerry.Instance) *skerry.Check {
	return &skerry.Check{ID: "service:" + i.ID, Name: "Service '" + i.Service + "' check", Status: skerry.Passing, Type: "ttl",
		ServiceID: i.ID, ServiceName: i.Service, Since: time.Unix(1, 0)}
}

// filled is a catalog with one agent that has n instances with a check each, of
// distinct services, or all of one.
func filled(tb testing.TB, n int, service func(int) string) (*catalog.Table, skerry.Version) {
	t := catalog.New(catalog.Config{})
	set := &skerry.Set{Node: &skerry.Node{Name: "n", Address: "192.0.2.1"}}
	for k := range n {
		i := instanceOf(fmt.Sprint("there-", k), service(k))
		set.Instances = append(set.Instances, i)
		set.Checks = append(set.Checks, ttlCheckOf(i))
	}
	v := skerry.Version{Epoch: 1, Seq: 1}
	if _, err := t.Announce(skerry.Announcement{Owner: "a", Kind: skerry.AgentOwner, Version: v, Set: set}); err != nil {
		tb.Fatal(err)
	}
	return t, v
}

func distinct(k int) string { return fmt.Sprint("service-", k) }

func one(int) string { return "web" }

func BenchmarkServiceWarm(b *testing.B) {
	t, _ := filled(b, 10, one)
	t.Service("web")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if len(t.Service("web").Entries) != 10 {
				b.Fail()
			}
		}
	})
}

func TestAWarmViewCostsNoAllocation(t *testing.T) {
	c, _ := filled(t, 10, one)
	c.Service("web")
	if n := testing.AllocsPerRun(100, func() { c.Service("web") }); n > 0 {
		t.Errorf("reading a warm view allocates %v times", n)
	}
}

// BenchmarkAnnounceDelta adds an instance with its check to those that are there,
// and takes it out again.
func BenchmarkAnnounceDelta(b *testing.B) {
	for name, service := range map[string]func(int) string{"distinct": distinct, "one-service": one} {
		for _, there := range []int{10, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", name, there), func(b *testing.B) {
				t, v := filled(b, there, service)
				b.ReportAllocs()
				b.ResetTimer()
				for n := range b.N {
					i := instanceOf(fmt.Sprint("new-", n%2), service(there+1))
					d := &skerry.Delta{Instances: []*skerry.Instance{i}, Checks: []*skerry.Check{ttlCheckOf(i)}}
					if n%2 == 1 {
						d = &skerry.Delta{RemovedInstances: []string{"new-0"}, RemovedChecks: []string{"service:new-0"}}
					}
					next := skerry.Version{Epoch: 1, Seq: v.Seq + 1}
					out, err := t.Announce(skerry.Announcement{Owner: "a", Kind: skerry.AgentOwner, Version: next, Base: v, Delta: d})
					if err != nil || out != skerry.Applied {
						b.Fatal(out, err)
					}
					v = next
				}
			})
		}
	}
}

// BenchmarkFanOut is one change until the last of 1,000 watchers is awake.
func BenchmarkFanOut(b *testing.B) {
	const watchers = 1000
	t, v := filled(b, 10, one)
	ready, woken := make(chan bool, watchers), make(chan uint64, watchers)
	for range watchers {
		go func() {
			for range ready {
				_, changed := t.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"})
				woken <- 0
				<-changed
				woken <- t.Service("web").Index
			}
		}()
	}
	defer close(ready)
	b.ReportAllocs()
	for n := range b.N {
		b.StopTimer()
		for range watchers {
			ready <- true
		}
		for range watchers {
			<-woken
		}
		i := instanceOf("there-0", "web")
		i.Port = 1000 + n
		next := skerry.Version{Epoch: 1, Seq: v.Seq + 1}
		b.StartTimer()
		if _, err := t.Announce(skerry.Announcement{Owner: "a", Kind: skerry.AgentOwner, Version: next, Base: v, Delta: &skerry.Delta{Instances: []*skerry.Instance{i}}}); err != nil {
			b.Fatal(err)
		}
		v = next
		for range watchers {
			<-woken
		}
	}
}

// BenchmarkMemory reports the live heap of an instance with its check.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		before := liveHeap()
		t, _ := filled(b, n, distinct)
		b.ReportMetric(float64(liveHeap()-before)/n, "B/instance")
		for k := range n {
			t.Service(distinct(k))
		}
		b.ReportMetric(float64(liveHeap()-before)/n, "B/instance-read")
		runtime.KeepAlive(t)
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkDigest(b *testing.B) {
	t, v := filled(b, 50, distinct)
	for b.Loop() {
		i := instanceOf("there-0", "web")
		i.Port = int(v.Seq)
		next := skerry.Version{Epoch: 1, Seq: v.Seq + 1}
		if _, err := t.Announce(skerry.Announcement{Owner: "a", Kind: skerry.AgentOwner, Version: next, Base: v, Delta: &skerry.Delta{Instances: []*skerry.Instance{i}}}); err != nil {
			b.Fatal(err)
		}
		v = next
		t.Known("a")
	}
}
