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

// waitTime returns the longest wait of a blocking query. Like Consul it adds up to a
// sixteenth, so that clients that came together do not come back together.
func (q *request) waitTime() time.Duration {
	d := q.p.wait
	if d <= 0 {
		d = q.f.cfg.DefaultWait
	}
	d = min(d, q.f.cfg.MaxWait)
	return d + rand.N(d/16+1)
}

// block returns when the topic's index is greater than the client's, or after the wait
// time, or when the client disconnects. A client with an index of another server or
// start is answered at once.
func (q *request) block(topic skerry.Topic) error {
	if err := q.p.query(); err != nil {
		return err
	}
	if err := q.caughtUp(); err != nil {
		return err
	}
	if q.p.index == 0 {
		return nil
	}
	if sc := q.narrowed(topic); sc != nil {
		return q.blockOn(sc)
	}
	// A parked request outlives q: the closure must not hold it.
	catalog, have := q.f.b.Catalog, q.p.index
	return q.await(func() (bool, <-chan struct{}) {
		index, changed := catalog.Watch(topic)
		return index > have || catalog.Foreign(have), changed
	}, nil)
}

// beyond is block for a record with an index of its own. watch must not hold q, which a
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

// unwatch returns the function that cancels a watch of the store.
func (q *request) unwatch() func(<-chan struct{}) {
	if q.f.b.Keys == nil {
		return nil
	}
	return q.f.b.Keys.Unwatch
}

// await waits until ready returns true, and calls it again whenever its channel closes.
// It returns errParked if the request was parked, errAnswered if it may not wait. The
// caller is identified again after a wait, since a token may have ended meanwhile.
// unwatch cancels the watch of a channel that ready has returned; nil if that is not
// needed.
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
	q.f.m.blocking.Inc()
	defer q.f.m.blocking.Dec()
	wait := q.boundedByToken(q.waitTime())
	part := min(wait, q.f.cfg.ParkAfter)
	timer := time.NewTimer(part)
	defer timer.Stop()
	tokens := q.f.tokensChanged()
	for {
		select {
		case <-changed:
		case <-tokens:
			tokens = q.f.tokensChanged()
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
			q.parts()
			return q.r.Context().Err()
		}
		if done, changed = ready(); done {
			return q.identify()
		}
	}
}

// The body of a blocking query has no meaning. It is read within these bounds.
const (
	drainMost   = 64 << 10
	drainWithin = 2 * time.Second
)

// drained reads the body of a query that is about to wait. After the connection is
// taken over, the unread rest of the body would count as the client's next request: a
// client behind a proxy could smuggle a request into a connection that others use. And
// while a body is unread, net/http does not detect that the client disconnects.
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
	// The late body has ended the request's context, as a disconnected client does.
	q.w.Header()["Connection"] = []string{"close"}
	q.text(http.StatusBadRequest, "Invalid request body: a query that waits takes a body of at most 64 KiB, sent within 2 s; send none")
	return errAnswered
}

// watch is the wait of one request for a change. It holds one channel at a time, and
// cancels its watch in the end.
type watch struct {
	ready   func() (bool, <-chan struct{})
	unwatch func(<-chan struct{}) // nil: the watches need not be canceled
	held    <-chan struct{}
}

// look reports whether the answer is due, and returns the channel to wait for if not.
func (w *watch) look() (bool, <-chan struct{}) {
	done, changed := w.ready()
	// If the channel is the same, it was watched twice; if not, the last one was closed or
	// is no longer needed.
	w.end()
	w.held = changed
	return done, changed
}

// end cancels the watch of the channel that is held.
func (w *watch) end() {
	if w.unwatch != nil && w.held != nil {
		w.unwatch(w.held)
	}
	w.held = nil
}

// whileKnown makes a wait end as soon as the token is not known any more. A parked
// request outlives q: the returned function must not hold it.
func (q *request) whileKnown(ready func() (bool, <-chan struct{})) func() (bool, <-chan struct{}) {
	if q.who == nil {
		return ready
	}
	gate, token := q.f.b.Gate, q.p.token
	return func() (bool, <-chan struct{}) {
		done, changed := ready()
		if !done {
			_, err := gate.Identify(token)
			done = err != nil
		}
		return done, changed
	}
}

// boundedByToken cuts a waiting time at the token's expiry.
func (q *request) boundedByToken(wait time.Duration) time.Duration {
	r, ok := q.who.(skerry.Ruled)
	if !ok || r.Expires().IsZero() {
		return wait
	}
	return max(min(wait, time.Until(r.Expires())), 0)
}

// discover returns the view of a service and notes its age.
func (q *request) discover(name string) (*skerry.View, error) {
	v, age, err := q.f.b.Discovery.Service(q.r.Context(), name)
	q.age = max(q.age, age)
	return v, err
}

// index returns a topic's present index for the caller.
func (q *request) index(topic skerry.Topic) uint64 {
	if sc := q.narrowed(topic); sc != nil {
		return q.indexOf(sc)
	}
	index, _ := q.f.b.Catalog.Watch(topic)
	return index
}

// reaches returns an error if the endpoint cannot be answered in the datacenter of ?dc=.
func (q *request) reaches() error {
	if q.route.at != byDatacenter && q.route.at != byFollower || q.knows(q.p.dc) {
		return nil
	}
	if err := q.p.query(); err != nil {
		return bare(err)
	}
	return errNoPath
}

// reachesNamed is reaches for the datacenter in a body, which counts more than ?dc=.
func (q *request) reachesNamed(dc string) error {
	if !q.knows(dc) {
		return errNoPath
	}
	return nil
}

// knows reports whether this server is in a datacenter; "" is its own.
func (q *request) knows(dc string) bool {
	return dc == "" || skerry.SameName(dc, q.f.b.Self.Datacenter)
}

var errNoPath = serverError("No path to datacenter")

// asked remembers the questions that came with ?cached before. All answers come from
// memory that is never stale; only the headers distinguish a first answer from a later
// one, as clients expect. A question is remembered as a hash, since clients choose its
// length.
type asked struct {
	mu     sync.Mutex
	hashes map[uint64]struct{}
}

// maxAsked bounds the remembered questions; others always get the headers of a first answer.
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

// cached sets the headers of an answer to a query with ?cached. Questions are
// remembered by token.
func (q *request) cached() {
	h := q.w.Header()
	if q.f.asked.before(skerry.MemoKey(q.r.URL.Path, q.p.token)) {
		h["X-Cache"] = []string{"HIT"}
		h["Age"] = zero
	} else {
		h["X-Cache"] = []string{"MISS"}
	}
}

// begin checks the parameters of a blocking catalog endpoint and waits.
func (q *request) begin(topic skerry.Topic) error {
	if err := q.p.query(); err != nil {
		return bare(err)
	}
	return q.block(topic)
}

// tokensChanged returns a channel that is closed at the next change of a token, policy or
// role; nil if access is not controlled.
func (f *front) tokensChanged() <-chan struct{} {
	if f.b.Gate == nil {
		return nil
	}
	return f.b.Gate.Changed()
}
