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
