package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A holder that is paused loses its lock no earlier than twice its TTL and the
// lock-delay allow, as in Consul, and what it does when it wakes up is refused by the lock's
// fencing token. The server is paused too, in the middle of it.
func TestAPausedHolderIsFencedOff(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	kv, sessions := a.client().KV(), a.client().Session()
	const ttl, delay = 10 * time.Second, 2 * time.Second
	create := func() string {
		t.Helper()
		id, _, err := sessions.Create(&api.SessionEntry{TTL: ttl.String(), LockDelay: delay}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	acquire := func(session string) bool {
		t.Helper()
		done, _, err := kv.Acquire(&api.KVPair{Key: "lock", Value: []byte(session), Session: session}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	guarded := func(session string) bool {
		t.Helper()
		ok, _, _, err := kv.Txn(api.KVTxnOps{
			{Verb: api.KVCheckSession, Key: "lock", Session: session},
			{Verb: api.KVSet, Key: "data", Value: []byte(session)},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}

	began := time.Now()
	paused := create()
	if !acquire(paused) || !guarded(paused) {
		t.Fatal("the first holder got no lock")
	}
	first, _, err := kv.Get("lock", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.signal(syscall.SIGSTOP)
	time.Sleep(2 * time.Second)
	a.signal(syscall.SIGCONT)

	next := create()
	for end := time.Now().Add(patience); !acquire(next); {
		if time.Now().After(end) {
			t.Fatal("the lock was never free again")
		}
		if _, _, err := sessions.Renew(next, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if took := time.Since(began); took < 2*ttl+delay || took > 2*ttl+delay+2*time.Second {
		t.Errorf("the lock was taken after %v: want twice the TTL and the lock-delay, %v, and no more than 2s later", took, 2*ttl+delay)
	}
	second, _, err := kv.Get("lock", nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.LockIndex <= first.LockIndex || second.Session != next {
		t.Errorf("the fencing token went from %d to %d, session %s", first.LockIndex, second.LockIndex, second.Session)
	}
	if guarded(paused) {
		t.Error("the paused holder's write was let through")
	}
	if !guarded(next) {
		t.Error("the new holder's write was refused")
	}
}
