package registry

import (
	"fmt"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
)

// entries are records of a log: an agent's registrations, one each.
func entries(n int) cluster.Log {
	log := cluster.Log{First: cluster.Pos{Life: 1700000000000, Seq: 100000}}
	for i := range n {
		id := fmt.Sprint("web-", i)
		log.Records = append(log.Records, cluster.Record{
			Owner: "agent/a1b2c3d4-0000-4000-8000-1234567890ab", Kind: skerry.AgentOwner, TTL: 5e9,
			Version: skerry.Version{Epoch: 1700000000000, Seq: uint64(1000 + i)}, Base: skerry.Version{Epoch: 1700000000000, Seq: uint64(999 + i)}, Digest: 0xdeadbeefcafef00d,
			Stand: cluster.Stand{Home: "s1", Attach: 3},
			Delta: &skerry.Delta{Instances: []*skerry.Instance{{ID: id, Service: id, Port: 80, Weights: skerry.Weights{Passing: 1, Warning: 1}}}},
		})
	}
	return log
}

func BenchmarkCodec(b *testing.B) {
	for _, n := range []int{1, 16} {
		log := entries(n)
		data, err := frame.Encode(log)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint("encode/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := frame.Encode(log); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data))/float64(n), "B/record")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
		b.Run(fmt.Sprint("decode/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(data); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}
