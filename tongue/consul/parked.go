package consul

import (
	"errors"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
)

var (
	// errParked unwinds an endpoint whose request was parked.
	errParked = errors.New("parked")
	// errAnswered unwinds an endpoint whose request was answered already.
	errAnswered = errors.New("answered")
)

// park passes the request to the lot. It reports false if that is not possible: then the
// request waits in its handler.
func (q *request) park(wait time.Duration, w *watch) bool {
	lot := q.f.b.Lot
	if lot == nil || q.resumed {
		return false
	}
	p := &parked{watch: w, q: request{f: q.f, reader: q.reader, route: q.route, rest: q.rest, p: q.p, resumed: true}}
	p.q.r = &http.Request{
		Method: q.r.Method, URL: q.r.URL, RemoteAddr: q.r.RemoteAddr, Body: http.NoBody,
		Proto: q.r.Proto, ProtoMajor: 1, ProtoMinor: q.r.ProtoMinor, Header: http.Header{},
	}
	if acceptsGzip(q.r) {
		p.q.r.Header["Accept-Encoding"] = gzipped
	}
	return lot.Park(q.w, q.r, wait, p)
}

// parked implements [skerry.Waiter].
type parked struct {
	q     request
	watch *watch
	due   bool
}

// Look implements [skerry.Waiter].
func (p *parked) Look() (due bool, changed <-chan struct{}) {
	due, changed = p.watch.look()
	p.due = p.due || due
	return due, changed
}

// Token implements [skerry.Waiter].
func (p *parked) Token() string { return p.q.p.token }

// End implements [skerry.Waiter]. An answer that was due is written by now, or was shared.
func (p *parked) End() {
	p.watch.end()
	switch {
	case p.q.reader == 0:
	case p.due:
		index, _ := p.q.f.b.Catalog.Watch(skerry.Topic{Kind: skerry.TopicService, Name: p.q.rest})
		p.q.gets(p.q.rest, index)
	default:
		p.q.parts()
	}
}

// Answer implements [skerry.Waiter]: the endpoint runs again.
func (p *parked) Answer(w http.ResponseWriter) {
	q := &p.q
	q.w = w
	q.f.common(w.Header())
	q.audited(func() {
		if err := q.run(); err != nil {
			q.fail(err)
		}
	})
}

// Question implements [skerry.Waiter].
func (p *parked) Question() (any, bool) {
	if p.q.identify() != nil {
		return nil, false
	}
	k, ok := p.q.question()
	return k, ok
}

// question has everything that an answer depends on, besides the records in it.
type question struct {
	front     *front // with the configuration before or after a reload
	target    string // path and query
	gzip      bool
	rules     string // of the caller, with access control
	anonymous bool
}

// question returns the request's question. ok is false if its answer cannot be shared.
func (q *request) question() (k question, ok bool) {
	if !q.route.discovery || q.p.near != "" || q.p.cached || len(q.p.filter) > maxSharedFilter || q.f.b.Audit != nil {
		return k, false
	}
	k.front, k.target = q.f, q.r.URL.RequestURI()
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

// maxSharedFilter is the greatest length, in bytes, of a filter that is evaluated for all
// waiters of a change, one after another. A request with a longer one uses its own
// goroutine.
const maxSharedFilter = 256
