package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

// many is more than one transaction takes.
const many = maxOps + 1000

// fewOps is what one transaction takes where a large change is made again and again.
const fewOps = 1024

func count(s skerry.Snapshot, prefix string) (n int) {
	for range s.All(skerry.Below(prefix), "") {
		n++
	}
	return n
}

// swap makes all of a/ become b/, with long values, and counts itself.
func swap(tx skerry.Tx, from, to string) {
	for _, r := range tx.All(from) {
		tx.Delete(r.Key)
		tx.Put(to+r.Key[len(from):], r.Value, 0)
	}
	tx.Put("swapped", []byte(to), 0)
}

// A change that is too large for one transaction of etcd is made, and no reader sees a
// part of it: neither readers of the table, nor watchers, nor other writers.
func TestALargeChangeIsSeenWholeOrNotAtAll(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (*Store, int){
		"member": func(t *testing.T) (*Store, int) {
			return open(t, Embedded{Dir: t.TempDir(), Forget: true, ops: fewOps}), fewOps + 200
		},
		"members": func(t *testing.T) (*Store, int) {
			peers := peersFor(t, 3)
			for i := range peers {
				peers[i].ops = fewOps
			}
			stores := openAll(t, peers...)
			return stores[(leaderOf(t, stores)+1)%3], fewOps + 200
		},
		"cluster": func(t *testing.T) (*Store, int) { return dialSmall(t), 300 },
	} {
		t.Run(name, func(t *testing.T) {
			s, n := open(t)
			defer s.Close()
			value := []byte(strings.Repeat("v", 700)) // together more than a request takes, too
			if _, err := s.Update(t.Context(), func(tx skerry.Tx) error {
				for i := range n {
					tx.Put(fmt.Sprintf("a/%06d", i), value, 0)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			before := s.Index()
			done := make(chan struct{})
			var readers sync.WaitGroup
			readers.Go(func() {
				for ; ; time.Sleep(time.Millisecond) { // reading without a pause would only slow the change down
					now := s.Snapshot()
					a, b := count(now, "a/"), count(now, "b/")
					if !(a == n && b == 0 || a == 0 && b == n) {
						t.Errorf("at %d, %d of a/ and %d of b/ are seen", now.Index(), a, b)
						return
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
			others, wrote := 0, make(chan struct{})
			readers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					// With the race detector the steps take longer than a write waits by itself.
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					_, err := s.Update(ctx, func(tx skerry.Tx) error { tx.Put("other", []byte(fmt.Sprint(others)), 0); return nil })
					cancel()
					if err != nil {
						t.Errorf("another's write: %v", err)
					}
					others++
					select {
					case wrote <- struct{}{}:
					default:
					}
				}
			})
			readers.Go(func() { // every wake-up is for all of it
				for {
					was, changed := s.Watch(skerry.Below("b/"))
					select {
					case <-done:
						return
					case <-changed:
					}
					if got := count(s.Snapshot(), "b/"); got != n {
						t.Errorf("woken for %d of b/", got)
					}
					if now := s.Changed(skerry.Below("b/")); now <= was {
						t.Errorf("woken, and the index went from %d to %d", was, now)
					}
				}
			})
			began := time.Now()
			index, err := s.Update(t.Context(), func(tx skerry.Tx) error { swap(tx, "a/", "b/"); return nil })
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d keys took %v", 2*n, time.Since(began))
			if got := count(s.Snapshot(), "b/"); got != n || index <= before || s.Index() < index {
				t.Errorf("when it returns, %d of b/ are there, index %d after %d", got, index, before)
			}
			<-wrote // others go on afterwards
			close(done)
			readers.Wait()
			if others < 1 {
				t.Errorf("others made %d writes", others)
			}
			same(t, s)
		})
	}
}

// same compares the table with what is loaded from etcd: stamps and all.
func same(t *testing.T, s *Store) {
	t.Helper()
	fresh, err := newStore(t.Context(), s.client, nil, s.prefix, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.cancel()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	was, now := s.Snapshot(), fresh.Snapshot()
	n := 0
	for r := range now.All(skerry.Below(""), "") {
		n++
		if one := was.Get(r.Key); one == nil || one.Modified != r.Modified || one.Created != r.Created || string(one.Value) != string(r.Value) {
			t.Fatalf("%s is %+v in the table and %+v in etcd", r.Key, one, r)
		}
	}
	if got := count(was, ""); got != n {
		t.Errorf("%d records in the table, %d in etcd", got, n)
	}
}

// A process that ends between the steps leaves a change that the next one undoes when
// it was not decided, and completes when it was.
func TestALargeChangeThatIsBrokenOff(t *testing.T) {
	const n = 300
	commit := func(s *Store) *replica.Commit {
		c := &replica.Commit{At: s.Index()}
		for i := range n {
			c.Deletes = append(c.Deletes, fmt.Sprintf("a/%06d", i))
			c.Puts = append(c.Puts, replica.Put{Key: fmt.Sprintf("b/%06d", i), Value: []byte("v")})
		}
		return c
	}
	for at, made := range map[string]bool{"frozen": false, "half staged": false, "staged": false, "decided": true, "half made": true, "made": true} {
		t.Run(at, func(t *testing.T) {
			s := dialSmall(t)
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			for i := 0; i < n; i += 50 {
				_, err := s.Update(t.Context(), func(tx skerry.Tx) error {
					for k := range 50 {
						tx.Put(fmt.Sprintf("a/%06d", i+k), []byte("v"), 0)
					}
					return nil
				})
				must(err)
			}
			ctx := t.Context()
			g, o := s.freeze(ctx)
			must(o.err)
			c := commit(s)
			if at != "frozen" {
				if at == "half staged" {
					c.Puts = nil
				}
				must(s.stage(ctx, g, c))
			}
			if made {
				var err error
				g, err = s.decide(ctx, g)
				must(err)
			}
			if at == "half made" || at == "made" {
				for _, one := range s.split(c)[:2] {
					_, err := s.client.Txn(ctx).If(s.counts(g)).Then(ops(g, &replica.Commit{Puts: one.Puts, Deletes: one.Deletes})...).Commit()
					must(err)
				}
			}
			if at == "made" {
				_, err := s.finish(ctx, g)
				must(err)
			}
			endpoint := s.client.Endpoints()[0]
			s.Close()
			next, err := Dial(ctx, External{Endpoints: []string{endpoint}, Log: slog.New(slog.DiscardHandler)})
			must(err)
			defer next.Close()
			a, b := count(next.Snapshot(), "a/"), count(next.Snapshot(), "b/")
			if made && (a != 0 || b != n) || !made && (a != n || b != 0) {
				t.Errorf("%d of a/, %d of b/", a, b)
			}
			must(put(t, next, "x", nil))
			if r, err := next.client.Get(ctx, next.prefix+stagePrefix, clientv3.WithPrefix()); err != nil || len(r.Kvs) > 0 {
				t.Errorf("what was staged is left: %v %v", r, err)
			}
		})
	}
}

// dialSmall is a store in an etcd with its default limits.
func dialSmall(t *testing.T) *Store {
	t.Helper()
	s, err := Dial(context.Background(), External{Endpoints: []string{clusterOf(t, 128)}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Without room for all of it, a large change is refused before anybody is kept waiting.
func TestALargeChangeNeedsRoom(t *testing.T) {
	s := open(t, Embedded{Dir: t.TempDir(), Forget: true, Quota: 24 << 20})
	defer s.Close()
	value := []byte(strings.Repeat("v", 700))
	_, err := s.Update(t.Context(), func(tx skerry.Tx) error {
		for i := range many {
			tx.Put(fmt.Sprintf("a/%06d", i), value, 0)
		}
		return nil
	})
	if skerry.KindOf(err) != skerry.Exhausted {
		t.Errorf("it was answered %v", err)
	}
	if err := put(t, s, "x", nil); err != nil || count(s.Snapshot(), "a/") != 0 {
		t.Errorf("afterwards: %v", err)
	}
	// With room it is made, with the usual size of a transaction.
	if _, err := s.Update(t.Context(), func(tx skerry.Tx) error {
		for i := range many {
			tx.Put(fmt.Sprintf("a/%06d", i), nil, 0)
		}
		return nil
	}); err != nil || count(s.Snapshot(), "a/") != many {
		t.Errorf("with room: %v, %d of %d", err, count(s.Snapshot(), "a/"), many)
	}
}
