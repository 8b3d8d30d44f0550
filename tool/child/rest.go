package child

import (
	"syscall"
	"time"

	"github.com/skerryhq/skerry/process"
)

// How long killed processes may take to be gone, and how often those that were told to
// end are looked for.
const (
	killWithin = 2 * time.Second
	firstLook  = 5 * time.Millisecond
	lastLook   = 200 * time.Millisecond
)

// endRest ends the descendants that the program has left, and returns when none lives.
// Processes that cannot be killed, such as another user's, are logged.
func (p *Process) endRest() {
	told := p.told.Load()
	if p.spec.Rest == LeaveRest && !told {
		return
	}
	if len(p.left()) == 0 {
		return
	}
	if !told {
		p.family.Signal(syscall.SIGTERM)
	}
	var late <-chan time.Time
	if !told { // else hurry is closed in time
		t := time.NewTimer(p.spec.KillAfter)
		defer t.Stop()
		late = t.C
	}
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		if len(p.left()) == 0 {
			return
		}
		select {
		case <-time.After(pause):
			continue
		case <-late:
		case <-p.hurry:
		}
		break
	}
	if _, left := p.family.End(killWithin); len(left) > 0 {
		p.spec.Log.Warn("what the program has started could not be killed and goes on", "left", process.Names(left))
	}
}

// left returns the processes that must end before the program is over.
func (p *Process) left() []process.Member {
	return p.family.Left(p.spec.Rest == EndGroup && !p.told.Load())
}
