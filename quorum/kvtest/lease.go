package kvtest

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

func (w *world) lease(ttl time.Duration) skerry.LeaseID {
	w.t.Helper()
	id, err := w.kv.Grant(w.ctx, ttl)
	if err != nil {
		w.t.Fatalf("grant: %v", err)
	}
	w.update(func(tx skerry.Tx) error { tx.Put(w.root+"leased", []byte("1"), id); return nil })
	return id
}

func (w *world) gone(key string) {
	w.t.Helper()
	for {
		_, changed := w.kv.Watch(skerry.Only(w.root + key))
		if w.value(key) == "-" {
			return
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			w.t.Fatalf("%s is still there", key)
		}
	}
}

// shortest is the least ttl that every engine keeps: etcd's is one and a half
// election timeouts.
const shortest = 2 * time.Second

func leaseEnds(t *testing.T, w *world) {
	started := time.Now()
	id := w.lease(shortest)
	if r := w.kv.Snapshot().Get(w.root + "leased"); r.Lease != id {
		t.Errorf("lease %d, want %d", r.Lease, id)
	}
	w.gone("leased")
	if took := time.Since(started); took < shortest {
		t.Errorf("the lease ended after %v, before its %v", took, shortest)
	}
	if err := w.kv.Renew(w.ctx, id); skerry.KindOf(err) != skerry.NotFound {
		t.Errorf("renewing an ended lease: %v", err)
	}
	_, err := w.kv.Update(w.ctx, func(tx skerry.Tx) error { tx.Put(w.root+"late", nil, id); return nil })
	if skerry.KindOf(err) != skerry.NotFound {
		t.Errorf("putting with an ended lease: %v", err)
	}
}

func leaseLives(t *testing.T, w *world) {
	for !w.livesRenewed() {
		t.Log("no renewal came within the lease: once more")
	}
}

// livesRenewed reports whether a lease lives that is renewed in time. It reports false when the
// test itself got no processor for as long as the lease.
func (w *world) livesRenewed() bool {
	w.t.Helper()
	began := time.Now()
	id, renewed := w.lease(shortest), began // the lease began later
	for time.Since(began) < 2*shortest+shortest/2 {
		now := time.Now()
		err := w.kv.Renew(w.ctx, id)
		if time.Since(renewed) >= shortest {
			return false
		}
		if err != nil {
			w.t.Fatalf("renew: %v, %v after the renewal before", err, time.Since(renewed))
		}
		renewed = now
		_, changed := w.kv.Watch(skerry.Only(w.root + "leased"))
		select {
		case <-changed:
		case <-time.After(shortest / 4):
		}
		value := w.value("leased")
		if time.Since(renewed) >= shortest {
			return false
		}
		if value != "1" {
			w.t.Fatalf("leased is %q, want 1, %v after a renewal", value, time.Since(renewed))
		}
	}
	return true
}

func leaseRevoked(t *testing.T, w *world) {
	id := w.lease(time.Minute)
	if err := w.kv.Revoke(w.ctx, id); err != nil {
		t.Fatalf("revoke: %v", err)
	}
	w.gone("leased")
	if err := w.kv.Revoke(w.ctx, id); err != nil {
		t.Errorf("revoking again: %v", err)
	}
}
