package quorum

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/skerryhq/skerry"
)

func BenchmarkPut(b *testing.B) {
	s := open(b, Embedded{Dir: b.TempDir()})
	defer s.Close()
	putMany(b, s)
}

// putMany is writes of many callers at once.
func putMany(b *testing.B, s *Store) {
	value := make([]byte, 200)
	var n atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			key := fmt.Sprintf("kv/%08d", n.Add(1))
			if _, err := s.Update(context.Background(), func(tx skerry.Tx) error {
				tx.Get(key)
				tx.Put(key, value, 0)
				return nil
			}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSync(b *testing.B) {
	s := open(b, Embedded{Dir: b.TempDir()})
	defer s.Close()
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := s.Sync(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkPutOfThree is BenchmarkPut through a member of three that follows.
func BenchmarkPutOfThree(b *testing.B) {
	stores := openAll(b, peersFor(b, 3)...)
	putMany(b, stores[(leaderOf(b, stores)+1)%3])
}

// BenchmarkOnePut and BenchmarkOnePutOfThree are the time of a write without others.
func BenchmarkOnePut(b *testing.B) {
	s := open(b, Embedded{Dir: b.TempDir()})
	defer s.Close()
	onePut(b, s)
}

func BenchmarkOnePutOfThree(b *testing.B) {
	stores := openAll(b, peersFor(b, 3)...)
	onePut(b, stores[(leaderOf(b, stores)+1)%3])
}

func onePut(b *testing.B, s *Store) {
	for b.Loop() {
		if _, err := s.Update(context.Background(), func(tx skerry.Tx) error { tx.Put("k", nil, 0); return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMembersOfThree is a look at the list of members, which some answers to clients
// need.
func BenchmarkMembersOfThree(b *testing.B) {
	ms := membersOf(b, openAll(b, peersFor(b, 3)...)[0])
	b.ReportAllocs()
	for b.Loop() {
		if n := len(ms.List()); n != 3 {
			b.Fatalf("%d members", n)
		}
	}
}
