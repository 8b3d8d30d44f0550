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
	id := w.lease(shortest)
	end := time.Now().Add(2*shortest + shortest/2)
	for time.Now().Before(end) {
		if err := w.kv.Renew(w.ctx, id); err != nil {
			t.Fatalf("renew: %v", err)
		}
		_, changed := w.kv.Watch(skerry.Only(w.root + "leased"))
		select {
		case <-changed:
		case <-time.After(shortest / 4):
		}
		w.want("leased", "1")
	}
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
