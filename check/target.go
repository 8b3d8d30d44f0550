package check

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// probed is a check that a prober judges.
type probed struct {
	shown
	threshold
	target *target
	place  int // in target.members
}

// key tells targets apart.
type key [sha256.Size]byte

// phase is what a target does at the moment.
type phase uint8

const (
	waiting phase = iota // for its slot in Runner.due
	queued               // in Runner.ready
	running
)

// target is one thing that is probed, for all checks with the same definition.
type target struct {
	key      key
	kind     string
	prober   Prober
	members  []*probed
	interval time.Duration
	timeout  time.Duration
	stagger  time.Duration // between the first run and the second
	phase    phase
	gone     bool
	again    bool // a check joined since the last run began
	ran      bool
	retried  bool  // the last run was undone by a stall
	due      int64 // its one slot that counts, while waiting
	ended    int64 // the last run
	cancel   context.CancelFunc
	joined   chan struct{} // watched targets only: somebody waits for the present result
}

// anonymous returns the part of a definition that says what is probed and how.
func anonymous(d *skerry.CheckDefinition) skerry.CheckDefinition {
	a := *d
	a.ID, a.Notes, a.Status, a.ServiceID = "", "", "", ""
	a.Name = ""
	a.SuccessBeforePassing, a.FailuresBeforeWarning, a.FailuresBeforeCritical = 0, 0, 0
	a.DeregisterCriticalServiceAfter = 0
	return a
}

func keyOf(d *skerry.CheckDefinition) key {
	a := anonymous(d)
	text, err := json.Marshal(&a)
	if err != nil {
		panic(err) // strings, numbers and maps of strings always marshal
	}
	return sha256.Sum256(text)
}

// stagger returns a part of the interval that depends on the node and the target,
// so that what started together does not stay together.
func stagger(node string, k key, interval time.Duration) time.Duration {
	sum := sha256.Sum256(append([]byte(node), k[:]...))
	part := float64(binary.BigEndian.Uint64(sum[:])) / math.MaxUint64
	return max(time.Duration(part*float64(interval)), time.Millisecond)
}

// join makes a check a member of its target, and has that probed now.
func (r *Runner) join(first shown, k *Kind, prober Prober, d *skerry.CheckDefinition) *probed {
	id := keyOf(d)
	t, ok := r.targets[id]
	if !ok {
		t = &target{key: id, kind: k.Name, prober: prober, interval: d.Interval, timeout: d.Timeout}
		t.stagger = stagger(r.cfg.Node, id, d.Interval)
		r.targets[id] = t
	}
	p := &probed{shown: first, threshold: newThreshold(d), target: t, place: len(t.members)}
	t.members = append(t.members, p)
	w, watched := t.prober.(Watcher)
	switch {
	case !ok && watched:
		r.watch(t, w)
	case watched:
		select {
		case t.joined <- struct{}{}:
		default:
		}
	case !ok:
		r.enqueue(t)
	case t.phase == running:
		t.again = true
	case t.phase == waiting:
		r.dueDead++
		r.wait(t, max(t.ended+int64(MinInterval), r.at(r.cfg.now())))
	}
	return p
}

// leave takes a check out of its target, and ends the target with its last one.
func (r *Runner) leave(p *probed) {
	t := p.target
	last := t.members[len(t.members)-1]
	t.members[p.place], last.place = last, p.place
	t.members[len(t.members)-1] = nil
	t.members = t.members[:len(t.members)-1]
	if len(t.members) > 0 {
		return
	}
	t.gone = true
	delete(r.targets, t.key)
	if t.cancel != nil {
		t.cancel()
	}
	if t.phase == waiting {
		r.dueDead++
		r.sweepDue()
	}
}

func (r *Runner) sweepDue() {
	if crowded(r.dueDead, len(r.due)) {
		r.due.sweep(func(s slot[*target]) bool { return s.of.counts(s.at) })
		r.dueDead = 0
	}
}

func (t *target) counts(at int64) bool { return !t.gone && t.phase == waiting && t.due == at }

// wait gives the target its slot.
func (r *Runner) wait(t *target, at int64) {
	t.phase, t.due = waiting, at
	r.due.push(at, t)
	r.sweepDue()
	r.wakeBefore(at)
}

// runDue queues what is due and returns how long nothing else is.
func (r *Runner) runDue(now int64) time.Duration {
	for len(r.due) > 0 {
		next := r.due[0]
		switch {
		case !next.of.counts(next.at):
			r.due.pop()
			r.dueDead--
		case next.at > now:
			return time.Duration(next.at - now)
		default:
			r.due.pop()
			r.enqueue(next.of)
		}
	}
	return math.MaxInt64
}

func (r *Runner) enqueue(t *target) {
	t.phase = queued
	r.ready = append(r.ready, t)
	if r.workers < r.cfg.MaxParallel {
		r.workers++
		r.wg.Go(r.work)
	}
}

// work probes queued targets until none is left.
func (r *Runner) work() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ready) > 0 && !r.closed {
		t := r.ready[0]
		r.ready[0] = nil
		r.ready = r.ready[1:]
		if !t.gone {
			r.run(t)
		}
	}
	r.workers--
}

// run probes a target once and gives it its next slot. The lock is held before
// and after, not while it probes.
func (r *Runner) run(t *target) {
	ctx, cancel := context.WithTimeout(r.ctx, t.timeout)
	defer cancel()
	t.phase, t.cancel, t.again = running, cancel, false
	stalled := r.clock.Stalled()
	r.mu.Unlock()

	began := r.cfg.now()
	result := t.prober.Check(ctx)
	ended := r.cfg.now()

	r.mu.Lock()
	t.cancel = nil
	if t.gone || r.closed {
		return
	}
	r.metrics.ran(t.kind, result.Status, ended.Sub(began))
	r.steady(ended)
	if result.Status != skerry.Passing && r.clock.Stalled() != stalled && !t.retried {
		t.retried = true // our own stall may be why it failed: ask again
		r.enqueue(t)
		return
	}
	t.retried = false
	r.publish(t, result)
	if t.gone {
		return
	}
	gap := t.interval
	switch {
	case t.again:
		gap = MinInterval
	case !t.ran:
		gap = t.stagger
	}
	t.ran, t.ended = true, r.at(ended)
	r.wait(t, t.ended+int64(gap))
}

// publish shows a result on every check of the target, each by its thresholds.
func (r *Runner) publish(t *target, result Result) {
	for _, p := range slices.Clone(t.members) {
		status, held := p.next(p.status.health(), result.Status)
		if !held {
			r.show(&p.shown, encode(status), result.Output)
		}
	}
}
