package agent

import (
	"time"

	"github.com/skerryhq/skerry"
)

// resumeDeadlines works out the time left of the replayed checks. It returns the checks
// whose slot is new: their records on disk are wrong about it.
func (a *Agent) resumeDeadlines() (moved []*checkState, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deadlines, err = openDeadlines(a.cfg.Dir); err != nil {
		return nil, err
	}
	d := a.deadlines
	used := map[int32]*checkState{}
	for _, cs := range a.checks {
		slot := cs.slot
		cs.slot = noSlot
		if cs.isTTL() && d.holds(slot) && used[slot] == nil {
			used[slot], cs.slot = cs, slot
		}
	}
	if d.mem == nil {
		return nil, nil
	}
	d.take(used)
	for slot, cs := range used {
		if left, ok := d.left(slot); ok {
			a.resume[cs.check.ID] = resumed(cs, left)
		}
	}
	for _, cs := range a.checks {
		if cs.isTTL() && cs.slot == noSlot {
			cs.slot = d.alloc(time.Now().Add(cs.def.TTL))
			moved = append(moved, cs)
		}
	}
	d.touch(time.Now())
	return moved, nil
}

func resumed(cs *checkState, left time.Duration) time.Duration {
	switch {
	case left > 0:
		// The last beat may be later than the last time we noted to run.
		return min(left, cs.def.TTL)
	case cs.check.Status == skerry.Critical:
		return 0 // it had run out
	}
	return cs.def.TTL // the clock leapt, or we stalled
}
