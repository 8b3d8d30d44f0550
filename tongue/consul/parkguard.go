package consul

import (
	"time"

	"github.com/skerryhq/skerry/rescue"
)

// A token may be removed while its request is parked. Its answer is due then: what
// was waited for may not come for minutes.

// guardShare is the part of one core that looking through the parked may take while
// tokens change all the time; guardPause the least time between two looks.
const (
	guardShare = 0.1
	guardPause = 20 * time.Millisecond
)

// guard starts to watch the tokens of the parked requests. Called with mu held.
func (l *Lot) guard(t *Tongue) {
	if l.guarded || t.tokensChanged() == nil {
		return
	}
	l.guarded = true
	l.begin()
	go l.watchTokens(t, l.end)
}

func (l *Lot) watchTokens(t *Tongue, end <-chan struct{}) {
	for {
		changed := t.tokensChanged()
		started := time.Now()
		l.wakeUnknown(t)
		pause := max(guardPause, time.Duration(float64(time.Since(started))/guardShare))
		select {
		case <-changed:
		case <-end:
			return
		}
		select {
		case <-time.After(pause):
		case <-end:
			return
		}
	}
}

// wakeUnknown wakes those whose token is not known any more: they are refused.
func (l *Lot) wakeUnknown(t *Tongue) {
	defer t.b.Net.Catch(rescue.Parked, nil)
	l.mu.Lock()
	all := make([]*parking, 0, len(l.parked))
	for p := range l.parked {
		all = append(all, p)
	}
	l.mu.Unlock()
	known := map[string]bool{}
	for _, p := range all {
		token := p.q.p.token
		ok, looked := known[token]
		if !looked {
			_, err := t.b.Gate.Identify(token)
			ok = err == nil
			known[token] = ok
		}
		if !ok {
			p.wake()
		}
	}
}
