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
	"github.com/skerryhq/skerry/rescue"
)

// probed is a check that a prober judges.
type probed struct {
	shown
	threshold
	target *target
	place  int // in target.members
}

// key identifies targets.
type key [sha256.Size]byte

// phase is the present activity of a target.
type phase uint8

const (
	waiting phase = iota // for its slot in Runner.due
	queued               // in Runner.queues
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
	again    bool               // a check joined since the last run began
	changed  bool               // a Heeder heard of a change since then
	deaf     context.CancelFunc // ends Heed; nil: the prober is no Heeder
	ran      bool
	retried  bool // the last run was undone by a stall
	stale    bool // the last run was undone by a fault of ours
	turn     turn
	due      int64 // its one slot that counts, while waiting
	ended    int64 // the last run
	cancel   context.CancelFunc
	joined   chan struct{} // watched targets only: somebody waits for the present result
}

// anonymous returns the part of a definition that describes the probe.
func anonymous(d *skerry.CheckDefinition) skerry.CheckDefinition {
	a := *d
	a.ID, a.Notes, a.Status, a.ServiceID = "", "", "", ""
	a.Name = ""
	a.SuccessBeforePassing, a.FailuresBeforeWarning, a.FailuresBeforeCritical = 0, 0, 0
	a.DeregisterCriticalServiceAfter = 0
	return a
}

// keyOf returns the key of a target. Services do not share one: none is to wait
// behind the runs of another.
func keyOf(service string, d *skerry.CheckDefinition) key {
	a := anonymous(d)
	a.ServiceID = service
	text, err := json.Marshal(&a)
	if err != nil {
		panic(err) // strings, numbers and maps of strings always marshal
	}
	return sha256.Sum256(text)
}

// stagger returns a part of the interval that depends on the node and the target, so that
// targets that started together do not stay together.
func stagger(node string, k key, interval time.Duration) time.Duration {
	sum := sha256.Sum256(append([]byte(node), k[:]...))
	part := float64(binary.BigEndian.Uint64(sum[:])) / math.MaxUint64
	return max(time.Duration(part*float64(interval)), time.Millisecond)
}

// join makes a check a member of its target, and has that probed now.
func (r *Runner) join(first shown, service string, k *Kind, prober Prober, d *skerry.CheckDefinition) *probed {
	id := keyOf(service, d)
	t, ok := r.targets[id]
	if !ok {
		t = &target{key: id, kind: k.Name, prober: prober, interval: d.Interval, timeout: d.Timeout}
		t.stagger = stagger(r.cfg.Node, id, d.Interval)
		t.turn = turn{service: service, slow: d.Timeout > longTimeout}
		if k.Peers != nil {
			t.turn.peers = k.Peers(d)
		}
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
		r.heed(t)
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
	if t.deaf != nil {
		t.deaf()
	}
	r.certain(t)
	switch t.phase {
	case waiting:
		r.dueDead++
		r.sweepDue()
	case queued:
		r.queues.remove(t)
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

// runDue queues the due targets and returns the time until the next is due.
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
	r.queues.add(t, r.at(r.cfg.now()))
	r.dispatch()
}

// dispatch gives runners to those whose turn it is.
func (r *Runner) dispatch() {
	for !r.closed {
		t := r.queues.next(r.at(r.cfg.now()))
		if t == nil {
			return
		}
		t.phase = running
		r.wg.Go(func() { r.work(t) })
	}
}

// work probes a target that has a runner, and then the targets that get the runner next.
func (r *Runner) work(t *target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t != nil {
		again := r.run(t)
		now := r.at(r.cfg.now())
		r.queues.done(t, now)
		if again {
			r.enqueue(t)
		}
		if r.closed {
			return
		}
		if t = r.queues.next(now); t != nil {
			t.phase = running
		}
		r.dispatch() // one runner given back may have made room for two
	}
}

// probe runs a probe once. A probe that panics has no result.
func (r *Runner) probe(ctx context.Context, t *target) (result Result) {
	defer r.cfg.Net.Catch(rescue.Check, func() { result = Result{Output: "the probe of this check panicked", Fault: FaultPanic} })
	return t.prober.Check(ctx)
}

// run probes a target once and gives it its next slot, unless it is to run again
// at once. The lock is held before and after, not while it probes.
func (r *Runner) run(t *target) (again bool) {
	if t.gone || r.closed {
		return false
	}
	ctx, cancel := context.WithTimeout(r.ctx, t.timeout)
	defer cancel()
	t.cancel, t.again, t.changed = cancel, false, false
	stalled := r.clock.Stalled()
	began := r.cfg.now()
	r.waited(t, began)
	r.mu.Unlock()

	result := r.probe(ctx, t)
	ended := r.cfg.now()

	r.mu.Lock()
	t.cancel = nil
	if t.gone || r.closed {
		return false
	}
	t.turn.slow = t.timeout > longTimeout || ctx.Err() != nil
	r.steady(ended)
	if result.Fault != "" {
		r.faulted(t, result.Fault, result.Output, ended)
		r.wait(t, r.at(ended)+int64(min(t.interval, faultRetry)))
		return false
	}
	r.metrics.ran(t.kind, result.Status, ended.Sub(began))
	if result.Status != skerry.Passing && r.clock.Stalled() != stalled && !t.retried {
		t.retried = true // our own stall may be why it failed: ask again
		return true
	}
	t.retried = false
	r.certain(t)
	r.publish(t, result)
	if t.gone {
		return false
	}
	gap := t.interval
	switch {
	case t.changed:
		gap = heedGap
	case t.again:
		gap = MinInterval
	case !t.ran:
		gap = t.stagger
	}
	t.ran, t.ended = true, r.at(ended)
	r.wait(t, t.ended+int64(gap))
	return false
}

// waited notes how long a target waited for its runner.
func (r *Runner) waited(t *target, now time.Time) {
	wait := time.Duration(r.at(now) - t.turn.since)
	r.metrics.waits.Observe(wait.Seconds())
	if t.ran && wait > t.interval && r.queues.lacked(t) {
		r.metrics.faulted(FaultRunners)
		r.troubles.note(now, FaultRunners, t, "it waited "+wait.String()+" for a runner", r.cfg.Log)
	}
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
