package skerry

import (
	"net/http"
	"time"
)

// Lot takes over the connections of requests that wait for long. A request inside net/http
// costs a goroutine with a grown stack and two buffers, a parked one a small part of that.
// Any front-end can park its requests.
type Lot interface {
	// Park takes over the connection of a request. The waiter answers when its answer is due
	// or wait has passed. Park reports false and does nothing if the connection cannot be
	// taken over, as with HTTP/2. The body of the request must have been read to its end.
	Park(w http.ResponseWriter, r *http.Request, wait time.Duration, waiter Waiter) bool
}

// Waiter is a parked request. Its methods are called one at a time. It must not hold the
// request of net/http: parking is there to free it.
type Waiter interface {
	// Look reports whether the answer is due. If not, changed is closed at the next change.
	Look() (due bool, changed <-chan struct{})
	// Token returns the caller's secret; "" if there is none.
	Token() string
	// Question returns a comparable value of everything but the change that the answer
	// depends on. Waiters for the same change with equal questions are sent the same bytes.
	// ok is false if the answer is this waiter's own, or the caller is not known any more.
	Question() (question any, ok bool)
	// Answer writes the answer.
	Answer(w http.ResponseWriter)
	// End releases what the waiter holds. No method is called after it.
	End()
}
