package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A session that holds more locks than one transaction of the store takes ends, and
// no reader sees it hold a part of them.
func TestASessionWithManyLocksEndsAtOnce(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	kv, sessions := a.client().KV(), a.client().Session()
	const locks, atOnce = 6400, 64
	id, _, err := sessions.Create(&api.SessionEntry{LockDelay: time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < locks; n += atOnce {
		var ops api.KVTxnOps
		for i := range atOnce {
			ops = append(ops, &api.KVTxnOp{Verb: api.KVLock, Key: fmt.Sprintf("many/%05d", n+i), Session: id})
		}
		if ok, answer, _, err := kv.Txn(ops, nil); err != nil || !ok {
			t.Fatalf("lock: %v %+v", err, answer)
		}
	}
	held := func(q *api.QueryOptions) (int, uint64) {
		pairs, meta, err := kv.List("many/", q)
		if err != nil || len(pairs) != locks {
			t.Errorf("%d keys, %v", len(pairs), err)
			return 0, 0
		}
		n := 0
		for _, p := range pairs {
			if p.Session != "" {
				n++
			}
		}
		return n, meta.LastIndex
	}
	if n, _ := held(nil); n != locks {
		t.Fatalf("%d locks are held", n)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, q := range []*api.QueryOptions{{AllowStale: true}, {RequireConsistent: true}} {
		readers.Go(func() {
			for was := uint64(0); ; {
				n, index := held(q)
				if n != 0 && n != locks || index < was {
					t.Errorf("%d locks are held at %d, after %d", n, index, was)
					return
				}
				was = index
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	_, before := held(nil)
	woken := make(chan int, 1)
	readers.Go(func() {
		n, _ := held(&api.QueryOptions{WaitIndex: before, AllowStale: true})
		woken <- n
	})
	began := time.Now()
	if _, err := sessions.Destroy(id, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("it ended in %v", time.Since(began))
	if n, _ := held(nil); n != 0 {
		t.Errorf("after its end %d locks are held", n)
	}
	if n := <-woken; n != 0 {
		t.Errorf("who waited saw %d locks", n)
	}
	close(done)
	readers.Wait()
	if left, _, err := sessions.Info(id, nil); err != nil || left != nil {
		t.Errorf("the session: %+v %v", left, err)
	}
	a.kill()
	a.run()
	if n, _ := held(nil); n != 0 {
		t.Errorf("after a restart %d locks are held", n)
	}
}
