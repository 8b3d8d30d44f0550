package e2e

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// holders counts those that hold something at once, and what each has got.
type holders struct {
	most    int64
	now     atomic.Int64
	got     []atomic.Int64
	tooMany atomic.Bool
}

// hold keeps what was got until it is lost or for a moment.
func (h *holders) hold(who int, lost <-chan struct{}, keep time.Duration) (kept bool) {
	if h.now.Add(1) > h.most {
		h.tooMany.Store(true)
	}
	defer h.now.Add(-1)
	h.got[who].Add(1)
	select {
	case <-lost:
		return false
	case <-time.After(keep): // what the holder does with it
		return true
	}
}

// locker is a Lock or a Semaphore of the official client.
type locker interface {
	acquire(stop <-chan struct{}) (lost <-chan struct{}, err error)
	release() error
}

type lockOf struct{ *api.Lock }

func (l lockOf) acquire(stop <-chan struct{}) (<-chan struct{}, error) { return l.Lock.Lock(stop) }
func (l lockOf) release() error                                        { return l.Unlock() }

type semaphoreOf struct{ *api.Semaphore }

func (s semaphoreOf) acquire(stop <-chan struct{}) (<-chan struct{}, error) { return s.Acquire(stop) }
func (s semaphoreOf) release() error                                        { return s.Release() }

// A lock, or a place of a semaphore, passes on when the server dies through which its
// holder speaks, and is never held by more than may.
func TestLocksPassOnWhenTheirServerDies(t *testing.T) {
	t.Parallel()
	const ttl = "10s"
	for name, tt := range map[string]struct {
		most int64
		of   func(*api.Client) (locker, error)
	}{
		"Lock": {1, func(c *api.Client) (locker, error) {
			l, err := c.LockOpts(&api.LockOptions{Key: "lock", LockDelay: time.Second, SessionTTL: ttl, LockWaitTime: time.Second})
			return lockOf{l}, err
		}},
		"Semaphore": {2, func(c *api.Client) (locker, error) {
			s, err := c.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "sem", Limit: 2, SessionTTL: ttl, SemaphoreWaitTime: time.Second})
			return semaphoreOf{s}, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			all, at := servers(t, 3)
			agree(t, all, 3, "s1", "s2", "s3")
			doomed, rest := leaderOf(all, at)
			h := &holders{most: tt.most, got: make([]atomic.Int64, 3)}
			stop := make(chan struct{})
			var work sync.WaitGroup
			contend := func(who int, keep time.Duration) {
				for {
					select {
					case <-stop:
						return
					default:
					}
					l, err := tt.of(all[who].client())
					if err != nil {
						t.Error(err)
						return
					}
					lost, err := l.acquire(stop)
					if err != nil || lost == nil {
						if who == doomed {
							return // its server is dead
						}
						continue // no leader, or stopped
					}
					if h.hold(who, lost, keep) {
						l.release()
					}
				}
			}
			// All places are held through the server that dies.
			for range tt.most {
				work.Go(func() { contend(doomed, time.Hour) })
			}
			await(t, "all places are taken", func() error { return atLeast(&h.got[doomed], tt.most) })
			for _, who := range rest {
				for range 2 {
					work.Go(func() { contend(who, 20*time.Millisecond) })
				}
			}
			all[doomed].kill()
			for _, who := range rest {
				awaitFor(t, 2*patience, fmt.Sprintf("s%d holds it", who+1), func() error { return atLeast(&h.got[who], 5) })
			}
			close(stop)
			work.Wait()
			if h.tooMany.Load() {
				t.Errorf("more than %d held it at once", tt.most)
			}
			t.Logf("got: %d %d %d", h.got[0].Load(), h.got[1].Load(), h.got[2].Load())
		})
	}
}

// lives reports whether a session is there, as the majority has it.
func (a *agent) lives(id string) bool {
	a.t.Helper()
	s, _, err := a.asker().Session().Info(id, &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		a.t.Fatal(err)
	}
	return s != nil
}

// A session is renewed through any server, and ends after the last renewal.
func TestASessionIsRenewedThroughAnyServer(t *testing.T) {
	t.Parallel()
	all, _ := serversWith(t, 3, map[string]any{"session_ttl_min": "1s"})
	const ttl = 3 * time.Second
	id, _, err := all[0].client().Session().Create(&api.SessionEntry{TTL: ttl.String(), LockDelay: time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(ttl / 3)
	defer again.Stop()
	began, last := time.Now(), time.Now()
	for n := 1; time.Since(began) < 4*ttl; n++ {
		<-again.C
		s, _, err := all[n%3].client().Session().Renew(id, nil)
		if err != nil || s == nil {
			t.Fatalf("renewal %d, %v after the last: %v, %v", n, time.Since(last), s, err)
		}
		last = time.Now()
	}
	for _, a := range all {
		if !a.lives(id) && time.Since(last) < ttl {
			t.Errorf("the session is gone at %s %v after it was renewed", a.http, time.Since(last))
		}
	}
	await(t, "the session ends", func() error {
		if all[1].lives(id) {
			return errors.New("it lives")
		}
		return nil
	})
	if age := time.Since(last); age < ttl {
		t.Errorf("it ended %v after the last renewal, with a TTL of %v", age, ttl)
	}
}

// A session that is bound to a node lives while the node's owner is silent in its grace, or
// held by the guard, and ends when the owner is lost.
func TestASessionEndsWithItsNodesOwnerAndNotBefore(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	for _, a := range all {
		a.finds("consul", "consul", "consul", "consul")
	}
	sessions := all[0].client().Session()
	bound := func(node string, create func(*api.SessionEntry, *api.WriteOptions) (string, *api.WriteMeta, error)) string {
		id, _, err := create(&api.SessionEntry{Node: node, LockDelay: time.Millisecond}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	orphan := bound("s3", sessions.Create)
	// An orphan in its grace: down after 2 s, lost 5 s later.
	for tries := 0; ; tries++ {
		slept := time.Now()
		all[2].signal(syscall.SIGSTOP)
		await(t, "s3 is seen to be down", func() error {
			members, err := all[0].asker().Agent().Members(false)
			if err != nil {
				return err
			}
			for _, m := range members {
				if m.Name == "s3" && m.Status == 4 {
					return nil
				}
			}
			return errors.New("it is up")
		})
		all[2].signal(syscall.SIGCONT)
		slow := time.Since(slept) > 6*time.Second
		agree(t, all, 3, "s1", "s2", "s3")
		if all[1].lives(orphan) {
			break
		}
		if !slow || tries == 5 {
			t.Fatal("a session ended while its node's owner was an orphan in its grace")
		}
		t.Logf("the machine is busy: s3 was stopped for %v", time.Since(slept))
		orphan = bound("s3", sessions.Create)
	}

	// Owners that all fall silent at once are held.
	const job = `{"Address": "10.0.0.%d", "TTL": "2s", "Services": [{"ID": "j%d", "Name": "job", "Port": 9}]}`
	for i := range 5 {
		all[0].ok("PUT", fmt.Sprint("/v1/skerry/owner/job-", i), fmt.Sprintf(job, i, i))
	}
	all[0].finds("job", "j0", "j1", "j2", "j3", "j4")
	node := nodeOf(t, all[0], "job")
	held := bound(node, sessions.CreateNoChecks)
	await(t, "the guard holds them", func() error {
		if n := decoded[struct{ Held int }](t, all[0].ok("GET", "/v1/skerry/guard", "")).Held; n != 5 {
			return fmt.Errorf("%d are held", n)
		}
		return nil
	})
	if !all[1].lives(held) {
		t.Error("a session ended although the guard holds its node's owner")
	}
	for _, a := range all {
		a.ok("PUT", "/v1/skerry/guard/release", "")
	}
	await(t, "a session ends when its node's owner is lost", func() error {
		if all[1].lives(held) {
			return errors.New("it lives")
		}
		return nil
	})
	if !all[1].lives(orphan) {
		t.Error("the other session ended too")
	}
	all[2].kill()
	await(t, "a session ends when its node's server is lost", func() error {
		if all[1].lives(orphan) {
			return errors.New("it lives")
		}
		return nil
	})
}

// nodeOf returns the node of the first instance of a service.
func nodeOf(t *testing.T, a *agent, service string) string {
	t.Helper()
	found, _, err := a.client().Catalog().Service(service, "", nil)
	if err != nil || len(found) == 0 {
		t.Fatalf("%v, %v", found, err)
	}
	return found[0].Node
}
