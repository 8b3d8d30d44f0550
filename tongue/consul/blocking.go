package consul

import (
	"errors"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
)

// waitTime returns how long a blocking query may wait: Consul adds up to a
// sixteenth, so that clients that came together do not come back together.
func (q *request) waitTime() time.Duration {
	d := q.p.wait
	if d <= 0 {
		d = q.t.cfg.DefaultWait
	}
	d = min(d, q.t.cfg.MaxWait)
	return d + rand.N(d/16+1)
}

// block returns when the topic's index is beyond the one that the client has, or
// after the wait time, or when the client is gone. A client with an index of
// another server or start is answered at once.
func (q *request) block(topic skerry.Topic) error {
	if err := q.p.query(); err != nil {
		return err
	}
	if q.p.index == 0 {
		return nil
	}
	if sc := q.narrowed(topic); sc != nil {
		return q.blockOn(sc)
	}
	// A parked request outlives q: the closure must not hold it.
	catalog, have := q.t.b.Catalog, q.p.index
	return q.await(func() (bool, <-chan struct{}) {
		index, changed := catalog.Watch(topic)
		return index > have || catalog.Foreign(have), changed
	}, nil)
}

// beyond is block for what has an index of its own. watch must not hold q, which a
// parked request outlives.
func (q *request) beyond(watch func() (index uint64, changed <-chan struct{})) error {
	have := q.p.index
	if have == 0 {
		return nil
	}
	return q.await(func() (bool, <-chan struct{}) {
		index, changed := watch()
		return index > have, changed
	}, q.unwatch())
}

// unwatch returns what lets go of a channel of the store.
func (q *request) unwatch() func(<-chan struct{}) {
	if q.t.b.Keys == nil {
		return nil
	}
	return q.t.b.Keys.Unwatch
}

// synced makes sure that what was decided before the request is known here, unless it
// may be stale.
func (q *request) synced() error {
	if q.p.stale || q.resumed {
		return nil
	}
	return q.t.b.Keys.Sync(q.r.Context())
}

// await waits until ready, asking again whenever its channel closes. It returns
// errParked when the request goes on waiting elsewhere, errAnswered when it may not
// wait. The asker is identified again after a wait, since a token may have ended
// meanwhile. unwatch lets go of a channel that ready has returned; nil where nothing
// has to be told.
func (q *request) await(ready func() (bool, <-chan struct{}), unwatch func(<-chan struct{})) (err error) {
	watch := &watch{ready: q.whileKnown(ready), unwatch: unwatch}
	ready = watch.look
	defer func() {
		if err != errParked {
			watch.end()
		}
	}()
	done, changed := ready()
	if done || q.resumed {
		return nil
	}
	if err := q.drained(); err != nil {
		return err
	}
	q.t.m.blocking.Inc()
	defer q.t.m.blocking.Dec()
	wait := q.boundedByToken(q.waitTime())
	part := min(wait, q.t.cfg.ParkAfter)
	timer := time.NewTimer(part)
	defer timer.Stop()
	tokens := q.t.tokensChanged()
	for {
		select {
		case <-changed:
		case <-tokens:
			tokens = q.t.tokensChanged()
		case <-timer.C:
			if wait -= part; wait <= 0 {
				return q.identify()
			}
			if q.park(wait, watch) {
				return errParked
			}
			part = wait
			timer.Reset(part)
		case <-q.r.Context().Done():
			return q.r.Context().Err()
		}
		if done, changed = ready(); done {
			return q.identify()
		}
	}
}

// The body of a blocking query means nothing. It is read within these bounds.
const (
	drainMost   = 64 << 10
	drainWithin = 2 * time.Second
)

// drained reads the body of a query that is about to wait. What is left unread of the
// body when the connection is taken over would be taken for the client's next
// request, so that a client behind a proxy could put a request of its choice into a
// connection that others use. And while a body is unread, net/http does not see the
// client go.
func (q *request) drained() error {
	if q.r.Body == nil || q.r.Body == http.NoBody {
		return nil
	}
	c := http.NewResponseController(q.w)
	c.SetReadDeadline(time.Now().Add(drainWithin))
	_, err := io.CopyN(io.Discard, q.r.Body, drainMost+1)
	c.SetReadDeadline(time.Time{})
	if errors.Is(err, io.EOF) {
		return nil
	}
	// The late body has ended the request's context, as a client that is gone does.
	q.w.Header()["Connection"] = []string{"close"}
	q.text(http.StatusBadRequest, "Invalid request body: a query that waits takes a body of at most 64 KiB, sent within 2 s; send none")
	return errAnswered
}

// watch is one request's place among the waiters for a change. It holds one
// channel at a time, and lets go of it in the end.
type watch struct {
	ready   func() (bool, <-chan struct{})
	unwatch func(<-chan struct{}) // nil: the channels need no letting go
	held    <-chan struct{}
}

// look asks whether the answer is due, and for the channel to wait for if it is not.
func (w *watch) look() (bool, <-chan struct{}) {
	done, changed := w.ready()
	// Of a channel that it holds already it has two now; of another, the one before was
	// closed or is waited for no more.
	w.end()
	w.held = changed
	return done, changed
}

// end lets go of what is held.
func (w *watch) end() {
	if w.unwatch != nil && w.held != nil {
		w.unwatch(w.held)
	}
	w.held = nil
}

// whileKnown makes a wait end as soon as the token is not known any more. A
// parked request outlives q: what is returned must not hold it.
func (q *request) whileKnown(ready func() (bool, <-chan struct{})) func() (bool, <-chan struct{}) {
	if q.who == nil {
		return ready
	}
	gate, token := q.t.b.Gate, q.p.token
	return func() (bool, <-chan struct{}) {
		done, changed := ready()
		if !done {
			_, err := gate.Identify(token)
			done = err != nil
		}
		return done, changed
	}
}

// boundedByToken cuts a waiting time at the end of the token's life.
func (q *request) boundedByToken(wait time.Duration) time.Duration {
	r, ok := q.who.(skerry.Ruled)
	if !ok || r.Expires().IsZero() {
		return wait
	}
	return max(min(wait, time.Until(r.Expires())), 0)
}

// tokensChanged is closed at the next change of a token, policy or role; nil, never,
// where access is not controlled.
func (t *Tongue) tokensChanged() <-chan struct{} {
	if t.b.Gate == nil || !t.b.Gate.Enabled() {
		return nil
	}
	return t.b.Gate.Changed()
}

// index returns a topic's present index for the asker.
func (q *request) index(topic skerry.Topic) uint64 {
	if sc := q.narrowed(topic); sc != nil {
		return q.indexOf(sc)
	}
	index, _ := q.t.b.Catalog.Watch(topic)
	return index
}

// reaches reports why the endpoint cannot be answered where ?dc= asks for it.
func (q *request) reaches() error {
	if q.route.at != byDatacenter || q.knows(q.p.dc) {
		return nil
	}
	if err := q.p.query(); err != nil {
		return q.bare(err)
	}
	return errNoPath
}

// reachesNamed is reaches for the datacenter that a body names, if ?dc= names none.
func (q *request) reachesNamed(dc string) error {
	if q.p.dc == "" && !q.knows(dc) {
		return errNoPath
	}
	return nil
}

// knows reports whether this server is in a datacenter; "" is its own.
func (q *request) knows(dc string) bool {
	return dc == "" || skerry.SameName(dc, q.t.cfg.Datacenter)
}

var errNoPath = serverError("No path to datacenter")

// asked remembers which questions came with ?cached before. Everything is answered
// from memory that is never stale; only the headers tell a first answer from a
// later one, as clients expect. A question is remembered as a hash, since its
// length is the client's choice.
type asked struct {
	mu     sync.Mutex
	hashes map[uint64]struct{}
}

// maxAsked bounds what is remembered; questions beyond it are first answers always.
const maxAsked = 10_000

var askedSeed = maphash.MakeSeed()

func (a *asked) before(question string) bool {
	h := maphash.String(askedSeed, question)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.hashes[h]; ok {
		return true
	}
	if a.hashes == nil {
		a.hashes = map[uint64]struct{}{}
	}
	if len(a.hashes) < maxAsked {
		a.hashes[h] = struct{}{}
	}
	return false
}

// cached sets the headers of an answer to a query with ?cached. Another token's
// questions are not this one's.
func (q *request) cached() {
	h := q.w.Header()
	if q.t.asked.before(skerry.MemoKey(q.r.URL.Path, q.p.token)) {
		h["X-Cache"] = []string{"HIT"}
		h["Age"] = zero
	} else {
		h["X-Cache"] = []string{"MISS"}
	}
}
