package lb

import (
	"fmt"
	"testing"
	"time"
)

func someNodes(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i].Key = fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)
	}
	return nodes
}

// One call's pick and end, with two at once: ≤ 200 ns and no allocation at 32.
func BenchmarkPick(b *testing.B) {
	for _, policy := range []Policy{P2C, Hash} {
		for _, n := range []int{3, 32, 1000} {
			b.Run(fmt.Sprint(policy, "/", n), func(b *testing.B) {
				p := New(Options{Policy: policy})
				p.Update(1, someNodes(n))
				start := time.Now()
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for hash := uint64(1); pb.Next(); hash += golden {
						now := time.Since(start)
						p.Pick(now, Request{Hash: hash}).Done(now+time.Millisecond, OK)
					}
				})
			})
		}
	}
}
