package consul

import (
	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// Fan-out: when a service changes, all who are parked for it are answered. Those who
// asked the same are sent the same bytes, which are worked out once, and at once:
// what a client's socket takes without waiting is written from here. The goroutine
// that reads is not even woken: the client's next request does that.

// question is what an answer depends on, besides what it tells of.
type question struct {
	tongue    *Tongue // and its configuration, of before or after a reload
	target    string  // path and query
	gzip      bool
	rules     string // of the asker, with access control
	anonymous bool
}

// question returns what the request asks. ok is false when its answer is its own.
func (q *request) question() (k question, ok bool) {
	if !q.route.discovery || q.p.near != "" || q.p.cached || len(q.p.filter) > maxSharedFilter || q.t.b.Audit != nil {
		return k, false
	}
	k.tongue, k.target = q.t, q.r.URL.RequestURI()
	k.gzip = acceptsGzip(q.r)
	if q.who != nil {
		r, is := q.who.(skerry.Ruled)
		if !is {
			return k, false
		}
		k.rules, k.anonymous = r.RulesKey(), q.who.Anonymous()
	}
	return k, true
}

// maxSharedFilter is the length in bytes up to which a filter is evaluated for all that
// wait for a change, one after another. A longer one is left to its own goroutine.
const maxSharedFilter = 256

// fanOut answers a group that waited for the same change, and wakes those who must do
// something for themselves.
func (l *Lot) fanOut(group map[*parking]struct{}) {
	answers := map[question][]byte{}
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

// share answers the request from answers, if its own goroutine does not do so
// already, and if what it waits for has come. It reports whether nothing is left to do.
func (p *parking) share(answers map[question][]byte) (nothingLeft bool) {
	defer p.q.t.b.Net.Catch(rescue.Parked, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || p.shared {
		return false
	}
	if done, _ := p.watch.look(); !done || p.q.identify() != nil {
		return false
	}
	k, ok := p.q.question()
	if !ok {
		return false
	}
	answer := answers[k]
	if answer == nil {
		w := p.gather()
		answer = append(w.head(), w.body...)
		answers[k] = answer
	}
	p.shared, p.unsent = true, answer[writeNow(p.sock, answer):]
	p.q.t.m.blocking.Dec()
	// What the client sent early is answered by the server once it has the
	// connection back.
	return len(p.unsent) == 0 && len(p.early) == 0
}
