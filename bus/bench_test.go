package bus_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry/bus"
)

// Send to two servers, until both have the frame; at most 1,000 are under way.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{300, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var got atomic.Int64
			receive := func(_ string, frame []byte) {
				if len(frame) == size {
					got.Add(1)
				}
			}
			one := start(b, config("a"), ignore)
			two, three := start(b, config("b", one.Addr()), receive), start(b, config("c", one.Addr()), receive)
			know(b, one, two, three)
			frame := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			sent := int64(0)
			wait := func(behind int64) {
				for since := time.Now(); 2*sent-got.Load() > 2*behind; runtime.Gosched() {
					if time.Since(since) > patience {
						b.Fatalf("%d of %d frames are lost", 2*sent-got.Load(), 2*sent)
					}
				}
			}
			for b.Loop() {
				if err := one.Send("", frame); err != nil {
					b.Fatal(err)
				}
				sent++
				wait(min(1000, 16<<20/int64(size)))
			}
			wait(0)
		})
	}
}

// Send alone, with no other server.
func BenchmarkSendAlone(b *testing.B) {
	one := start(b, config("a"), ignore)
	frame := make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		if err := one.Send("b", frame); err != nil {
			b.Fatal(err)
		}
	}
}

// The time from the start of a second server until both know each other.
func BenchmarkFind(b *testing.B) {
	one := start(b, config("a"), ignore)
	for i := 0; b.Loop(); i++ {
		two := start(b, config("b"+strconv.Itoa(i), one.Addr()), ignore)
		for len(two.Peers()) == 0 {
			time.Sleep(time.Millisecond)
		}
		two.Close()
	}
}

// The time from a server's end until another notices, and from its return until frames come.
func BenchmarkReturn(b *testing.B) {
	one := start(b, config("a"), ignore)
	cfg := config("b", one.Addr())
	var noticed, back time.Duration
	for b.Loop() {
		var got atomic.Bool
		two := start(b, cfg, func(string, []byte) { got.Store(true) })
		begun := time.Now()
		for !got.Load() {
			one.Send("b", []byte("x"))
			time.Sleep(time.Millisecond)
		}
		back += time.Since(begun)
		begun = time.Now()
		two.Close()
		for one.Status().Routes > 0 {
			time.Sleep(time.Millisecond)
		}
		noticed += time.Since(begun)
	}
	b.ReportMetric(float64(back.Milliseconds())/float64(b.N), "ms-until-frames")
	b.ReportMetric(float64(noticed.Milliseconds())/float64(b.N), "ms-until-noticed")
}

// Memory that an idle bus takes, alone and with two peers in the same process. Run it with
// -benchtime 1x.
func BenchmarkIdleMemory(b *testing.B) {
	heap, rss := memory()
	one := start(b, config("a"), ignore)
	for b.Loop() {
		heapOne, rssOne := memory()
		two, three := start(b, config("b", one.Addr()), ignore), start(b, config("c", one.Addr()), ignore)
		know(b, one, two, three)
		heapThree, rssThree := memory()
		b.ReportMetric(float64(heapOne-heap)/1024, "KB-heap-alone")
		b.ReportMetric(float64(rssOne-rss)/1024, "KB-rss-alone")
		b.ReportMetric(float64(heapThree-heap)/3/1024, "KB-heap-each-of-3")
		b.ReportMetric(float64(rssThree-rss)/3/1024, "KB-rss-each-of-3")
	}
}

// memory returns the bytes of the heap that are in use, and those of the process.
func memory() (heap, rss int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, _ := os.ReadFile("/proc/self/statm")
	if fields := bytes.Fields(statm); len(fields) > 1 {
		pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		rss = pages * int64(os.Getpagesize())
	}
	return int64(m.HeapInuse + m.StackInuse), rss
}

// A server whose sockets fill, and frames as fast as they can be sent for two seconds: the
// most that the heap grew, and the share of frames that another server got. Run it with
// -benchtime 1x.
func BenchmarkStuck(b *testing.B) {
	for b.Loop() {
		pa, pb := newProxy(b), newProxy(b)
		var got atomic.Int64
		one := pa.behind(b, config("a"), ignore)
		three := start(b, config("c", one.Addr()), func(string, []byte) { got.Add(1) })
		two := pb.behind(b, config("b", pa.addr()), ignore)
		know(b, one, two, three)
		before, _ := memory()
		pa.stick(true)
		pb.stick(true)
		frame := make([]byte, 64<<10)
		most, cut, sent := int64(0), time.Duration(0), int64(0)
		for begun := time.Now(); time.Since(begun) < 2*time.Second; {
			for range 16 {
				one.Send("", frame)
				sent++
			}
			for since := time.Now(); sent-got.Load() > 100 && time.Since(since) < 10*time.Millisecond; {
				runtime.Gosched()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapInuse)-before)
			if cut == 0 && one.Status().Routes == 1 {
				cut = time.Since(begun)
			}
		}
		b.ReportMetric(float64(sent)/16, "MB-sent")
		b.ReportMetric(float64(most>>20), "MB-heap")
		b.ReportMetric(float64(got.Load())/float64(sent), "share-got")
		b.ReportMetric(float64(cut.Milliseconds()), "ms-until-cut")
	}
}

var _ bus.Sender = (*bus.Bus)(nil)
