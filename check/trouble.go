package check

import (
	"log/slog"
	"time"
)

const (
	faultRetry = 10 * time.Second // the longest wait after a fault of ours
	faultQuiet = 2 * time.Minute  // without one, it is over
	faultEvery = time.Minute      // between two log lines of one fault
)

// trouble is a fault of ours that goes on.
type trouble struct {
	since, last, told time.Time
	runs              int // since it was logged
}

// troubles keep the log short: thousands of checks have the same fault at once.
type troubles map[Fault]*trouble

// note takes in a fault and logs it: when it begins, and each minute while it lasts.
func (ts troubles) note(now time.Time, f Fault, t *target, why string, log *slog.Logger) {
	b := ts[f]
	if b == nil || now.Sub(b.last) > faultQuiet {
		b = &trouble{since: now}
		ts[f] = b
	}
	b.last = now
	b.runs++
	if now.Sub(b.told) < faultEvery {
		return
	}
	message := "a check cannot be run for a fault of this process or host; it keeps its state"
	if !b.told.IsZero() {
		message = "checks still cannot be run for a fault of this process or host; their states may be out of date"
	}
	log.Warn(message, "fault", f, "runs", b.runs, "since", b.since, "kind", t.kind, "service", t.turn.service, "error", why)
	b.told, b.runs = now, 0
}

// faulted keeps a target's state after a run without a result, and has it probed again
// soon.
func (r *Runner) faulted(t *target, f Fault, why string, now time.Time) {
	r.metrics.faulted(f)
	r.troubles.note(now, f, t, why, r.cfg.Log)
	if !t.stale {
		t.stale = true
		r.stale++
	}
}

// certain ends the state that faulted began.
func (r *Runner) certain(t *target) {
	if t.stale {
		t.stale = false
		r.stale--
	}
}

// lookEvery is how often waiting targets are looked at.
const lookEvery = 10 * time.Second

// lookAtQueue warns when targets wait for a runner longer than they should.
func (r *Runner) lookAtQueue(now time.Time) {
	if now.Sub(r.looked) < lookEvery {
		return
	}
	r.looked = now
	b := r.queues.backlog()
	if b.oldest == nil {
		return
	}
	waits := time.Duration(r.at(now) - b.oldest.turn.since)
	if waits < max(b.oldest.interval, faultEvery) || now.Sub(r.warned) < faultEvery {
		return
	}
	r.warned = now
	r.cfg.Log.Warn("checks wait for a runner: runs that hang take the share of their service or target; give these checks a shorter timeout",
		"waiting", r.queues.waiting, "held_back", b.held, "running", r.queues.running, "runners", r.queues.most,
		"longest", waits, "service", b.oldest.turn.service, "targets", b.oldest.turn.peers)
}
