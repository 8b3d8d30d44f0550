package bus

import "sync"

// itemBytes is added to the size of each frame in a queue, so that the bound holds for
// empty frames too.
const itemBytes = 64

// item is a frame that waits. About is the subject to send it on, or the name of the
// server that sent it.
type item struct {
	about string
	frame []byte
}

// queue holds frames in order, bounded by their bytes.
type queue struct {
	limit int

	mu     sync.Mutex
	more   sync.Cond // items were added, or the queue was closed
	items  []item    // from first on
	first  int
	bytes  int
	closed bool
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.more.L = &q.mu
	return q
}

// push adds a frame, and reports whether there was room. An empty queue has room for a
// frame of any size.
func (q *queue) push(it item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := len(it.frame) + itemBytes
	if q.closed || q.bytes > 0 && q.bytes+size > q.limit {
		return false
	}
	if q.first > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, it)
	q.bytes += size
	q.more.Signal()
	return true
}

// pop waits for the next frame. It is not ok when the queue is closed and empty.
func (q *queue) pop() (it item, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first == len(q.items) {
		if q.closed {
			return item{}, false
		}
		q.more.Wait()
	}
	it = q.items[q.first]
	q.items[q.first] = item{}
	q.first++
	q.bytes -= len(it.frame) + itemBytes
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
		if cap(q.items) > 1024 { // a burst is over
			q.items = nil
		}
	}
	return it, true
}

// close ends push. Frames that wait can still be popped.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}

// discard closes the queue, drops all that waits, and returns how many frames that were.
func (q *queue) discard() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.items) - q.first
	q.items, q.first, q.bytes, q.closed = nil, 0, 0, true
	q.more.Broadcast()
	return n
}
