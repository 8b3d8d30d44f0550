package catalog

import (
	"container/heap"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/steady"
)

// lease is what the table knows of an owner's being alive. Times are on the
// steady clock, which does not count the time in which this process was stalled.
type lease struct {
	ttl       time.Duration
	beat      time.Time // the last sign of life
	due       time.Time // as the heap has it; the true deadline may be later
	at        int       // place in the heap
	queued    bool      // it is in the heap
	held      bool      // by the guard
	heldUntil time.Time
}

func (l *lease) deadline() time.Time {
	if l.held {
		return l.heldUntil
	}
	return l.beat.Add(l.ttl)
}

// leases orders the owners with a TTL by when they may have to expire. A beat
// only moves the true deadline; the heap is corrected when an owner comes up.
type leases struct {
	clock *steady.Clock
	heap  leaseHeap
	swept time.Time
}

func (ls *leases) drop(o *owner) {
	if o.lease.queued {
		heap.Remove(&ls.heap, o.lease.at)
	}
	o.lease = lease{}
}

// renew takes a sign of life. Called with mu held.
func (t *Table) renew(o *owner, ttl time.Duration, now time.Time) {
	if ttl <= 0 {
		return
	}
	if t.cfg.Judged {
		o.lease.ttl = ttl
		return
	}
	// An owner that is heard first after a stall must not be dated into it.
	t.leases.clock.Observe(now, t.cfg.TickEvery)
	now = t.leases.clock.Effective(now)
	fresh := !o.lease.queued
	if o.lease.held {
		o.lease.held = false
		t.guard.held--
		t.showGuard(o)
	}
	o.lease.ttl, o.lease.beat = ttl, now
	if recovered := t.recoverUntil.Add(-ttl); now.Before(recovered) {
		o.lease.beat = recovered // expires at the end of the recovery at the earliest
	}
	switch {
	case fresh:
		o.lease.due = o.lease.deadline()
		heap.Push(&t.leases.heap, o)
	case o.lease.deadline().Before(o.lease.due):
		o.lease.due = o.lease.deadline()
		heap.Fix(&t.leases.heap, o.lease.at)
	}
}

// Beat implements [skerry.Announcer].
func (t *Table) Beat(id skerry.OwnerID, digest uint64) skerry.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[id]
	if o == nil {
		return skerry.Resend
	}
	t.renew(o, o.lease.ttl, t.cfg.Now())
	if o.digest != digest {
		return skerry.Resend
	}
	return skerry.Unchanged
}

// Tick expires the owners that fell silent. It is to be called every
// Config.TickEvery. It returns the owners that are lost.
func (t *Table) Tick() []skerry.OwnerID {
	t.mu.Lock()
	defer t.mu.Unlock()
	wall := t.cfg.Now()
	t.leases.clock.Observe(wall, t.cfg.TickEvery)
	now := t.leases.clock.Effective(wall)
	if wall.Sub(t.leases.swept) > time.Minute {
		t.leases.swept = wall
		t.departed.sweep(wall)
		t.guard.sweep(now.Add(-t.cfg.Guard.Window))
	}
	due := t.leases.takeDue(now)
	if len(due) == 0 {
		return nil
	}
	return t.judge(due, now)
}

// takeDue returns the owners whose deadline has passed. They stay in the heap.
func (ls *leases) takeDue(now time.Time) []*owner {
	var due []*owner
	for len(ls.heap) > 0 && !ls.heap[0].lease.due.After(now) {
		o := ls.heap[0]
		if d := o.lease.deadline(); d.After(now) {
			o.lease.due = d
			heap.Fix(&ls.heap, 0)
			continue
		}
		heap.Pop(&ls.heap)
		due = append(due, o)
	}
	for _, o := range due {
		heap.Push(&ls.heap, o)
	}
	return due
}

func (t *Table) expire(o *owner) {
	t.departed.bury(o, true, t.cfg.Now())
	t.remove(o, skerry.CauseExpired)
}

type leaseHeap []*owner

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].lease.due.Before(h[j].lease.due) }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].lease.at, h[j].lease.at = i, j
}

func (h *leaseHeap) Push(x any) {
	o := x.(*owner)
	o.lease.at, o.lease.queued = len(*h), true
	*h = append(*h, o)
}

func (h *leaseHeap) Pop() any {
	old := *h
	o := old[len(old)-1]
	o.lease.queued = false
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return o
}
