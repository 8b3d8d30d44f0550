package park

import "github.com/skerryhq/skerry/rescue"

// Fan-out: a change answers all requests that are parked for it. Those with equal questions
// are sent the same bytes, which are computed once. The bytes that a socket takes without
// waiting are written from here, and the reading goroutine is not woken: the client's next
// request wakes it.

// fanOut answers a group that waited for the same change, and wakes the requests that
// need their own goroutine.
func (l *Lot) fanOut(group map[*parking]struct{}) {
	answers := map[any][]byte{}
	var rest []*parking
	for p := range group {
		if !p.share(answers) {
			rest = append(rest, p)
		}
	}
	for _, p := range rest {
		p.wake()
	}
}

// share answers the request from answers, unless its own goroutine does so already or the
// answer is not due. It reports whether nothing is left to do.
func (p *parking) share(answers map[any][]byte) (nothingLeft bool) {
	defer p.lot.cfg.Net.Catch(rescue.Parked, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || p.shared {
		return false
	}
	if due, _ := p.waiter.Look(); !due {
		return false
	}
	question, ok := p.waiter.Question()
	if !ok {
		return false
	}
	answer := answers[question]
	if answer == nil {
		w := p.gather()
		answer = append(w.head(), w.body...)
		answers[question] = answer
	}
	p.shared, p.unsent = true, answer[writeNow(p.sock, answer):]
	p.lot.cfg.Waiting.Dec()
	// The server answers early requests of the client once it has the connection back.
	return len(p.unsent) == 0 && len(p.early) == 0
}
