package park

import (
	"time"

	"github.com/skerryhq/skerry/rescue"
)

// A token may be removed while its request is parked. The answer is due then: the change
// that the request waits for may not come for minutes.

// guardShare is the share of one core that checking the tokens may take while they change
// constantly; guardPause is the least time between two checks.
const (
	guardShare = 0.1
	guardPause = 20 * time.Millisecond
)

// guard starts to watch the tokens of the parked requests. Called with mu held.
func (l *Lot) guard() {
	if l.guarded || l.tokensChanged() == nil {
		return
	}
	l.guarded = true
	go l.watchTokens()
}

// tokensChanged returns a channel that is closed at the next change of a token, policy or
// role; nil where access is not controlled.
func (l *Lot) tokensChanged() <-chan struct{} {
	if l.cfg.Gate == nil {
		return nil
	}
	return l.cfg.Gate.Changed()
}

func (l *Lot) watchTokens() {
	for {
		changed := l.tokensChanged()
		started := time.Now()
		l.wakeUnknown()
		pause := max(guardPause, time.Duration(float64(time.Since(started))/guardShare))
		select {
		case <-changed:
		case <-l.end:
			return
		}
		select {
		case <-time.After(pause):
		case <-l.end:
			return
		}
	}
}

// wakeUnknown wakes the requests whose token is not known any more: they are refused.
func (l *Lot) wakeUnknown() {
	defer l.cfg.Net.Catch(rescue.Parked, nil)
	l.mu.Lock()
	all := make([]*parking, 0, len(l.parked))
	for p := range l.parked {
		all = append(all, p)
	}
	l.mu.Unlock()
	known := map[string]bool{}
	for _, p := range all {
		token := p.waiter.Token()
		ok, looked := known[token]
		if !looked {
			_, err := l.cfg.Gate.Identify(token)
			ok = err == nil
			known[token] = ok
		}
		if !ok {
			p.wake()
		}
	}
}
