package check

import (
	"math"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// expired begins the output of a TTL check that was not refreshed.
const expired = "TTL expired"

// coarse is the least time between two looks at the deadlines.
const coarse = 2 * time.Millisecond

// ttlCheck is a check that its program refreshes. There are many: it has 64 bytes.
type ttlCheck struct {
	shown
	limit    int32 // bytes of output
	armed    bool  // has a slot in Runner.deadlines, or waits in Runner.overdue
	ttl      time.Duration
	deadline int64 // in steady time; the slot may be earlier, never later
}

// startTTL begins with the time that s leaves, and at most a full TTL.
func (r *Runner) startTTL(first shown, d *skerry.CheckDefinition, s State) *ttlCheck {
	c := &ttlCheck{shown: first, limit: int32(min(d.OutputMaxSize, math.MaxInt32)), ttl: d.TTL}
	now := r.cfg.now()
	left := d.TTL
	if !s.Deadline.IsZero() {
		left = min(s.Deadline.Sub(now), d.TTL)
	}
	c.deadline = r.steady(now) + int64(left)
	if c.status != encode(skerry.Critical) || !strings.HasPrefix(c.output, expired) {
		r.arm(c)
	}
	return c
}

func (r *Runner) arm(c *ttlCheck) {
	c.armed = true
	r.deadlines.push(c.deadline, c)
	r.wakeBefore(c.deadline + int64(r.clock.Stalled()))
}

// forget leaves the slot of a stopped check behind, and sweeps when these are many.
func (r *Runner) forget(c *ttlCheck) {
	if !c.armed {
		return
	}
	r.ttlDead++
	if crowded(r.ttlDead, len(r.deadlines)) {
		r.deadlines.sweep(func(s slot[*ttlCheck]) bool { return !s.of.gone })
		r.ttlDead = 0
	}
}

// Beat refreshes a TTL check: its status, its output, and a full TTL from now. It
// reports them when one of them is new, and has returned from Report then. An
// unknown id is an error of kind [skerry.NotFound]; a check of another kind, or a
// status that is none, of kind [skerry.Invalid].
//
// deadline is when the check expires without another Beat, by the wall clock.
func (r *Runner) Beat(id string, status skerry.Health, output string) (deadline time.Time, err error) {
	if !status.Valid() {
		return time.Time{}, &skerry.Error{Kind: skerry.Invalid, Subject: "check", ID: id, Message: "Invalid check status: '" + string(status) + "'"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.ttls[id]
	if !ok || c.gone {
		return time.Time{}, r.notTTL(id)
	}
	now := r.cfg.now()
	c.deadline = r.steady(now) + int64(c.ttl)
	if !c.armed {
		r.arm(c)
	}
	if next := encode(status); c.status != next || !isTruncated(c.output, output, int(c.limit)) {
		r.show(&c.shown, next, Truncate(output, int(c.limit)))
	}
	for c.reporting && !c.gone { // another Beat may be at it: this one is done when it is known
		r.settled.Wait()
	}
	return now.Add(c.ttl), nil
}

func (r *Runner) notTTL(id string) error {
	if _, ok := r.probes[id]; ok {
		e := skerry.Errorf(skerry.Invalid, "CheckID %q does not have associated TTL", id)
		e.Subject, e.ID = "check", id
		return e
	}
	e := skerry.Errorf(skerry.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
	e.Subject, e.ID = "check", id
	return e
}

// expireDue hands overdue checks to the expirer and returns the time until the next can
// be due. The scheduler does not report itself: a slow Report must not keep it from the
// clock.
func (r *Runner) expireDue(now int64) time.Duration {
	wait := r.collectOverdue(now)
	if len(r.overdue) > 0 && !r.expiring {
		r.expiring = true
		r.wg.Go(r.expire)
	}
	return wait
}

func (r *Runner) collectOverdue(now int64) time.Duration {
	for len(r.deadlines) > 0 {
		next := r.deadlines[0]
		c := next.of
		switch {
		case c.gone:
			r.deadlines.pop()
			r.ttlDead = max(r.ttlDead-1, 0)
		case next.at > now:
			return max(time.Duration(next.at-now), coarse)
		case c.deadline > now:
			r.deadlines.postpone(c.deadline)
		default:
			r.deadlines.pop()
			r.overdue = append(r.overdue, c)
		}
	}
	return math.MaxInt64
}

// expire reports overdue checks one after another, until none is left. A Beat that
// came in between saves its check.
func (r *Runner) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.overdue) > 0 && !r.closed {
		c := r.overdue[0]
		r.overdue[0] = nil
		r.overdue = r.overdue[1:]
		switch {
		case c.gone:
		case c.deadline > r.steady(r.cfg.now()):
			r.arm(c)
		default:
			c.armed = false
			r.metrics.expired()
			output := expired
			if c.output != "" {
				output += " (last output before timeout follows): " + c.output
			}
			r.show(&c.shown, encode(skerry.Critical), output)
		}
	}
	r.expiring = false
}
