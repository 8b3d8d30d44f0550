package bus

import (
	"fmt"
	"sync"
	"testing"
)

func TestQueueIsBounded(t *testing.T) {
	q := newQueue(10 * (100 + itemBytes))
	n := 0
	for q.push(item{frame: make([]byte, 100)}) {
		n++
	}
	if n != 10 {
		t.Errorf("%d frames fit, want 10", n)
	}
	q.pop()
	if !q.push(item{frame: make([]byte, 100)}) || q.push(item{}) {
		t.Error("the room of one frame is not that of one")
	}
	if n := q.discard(); n != 10 {
		t.Errorf("%d frames are discarded", n)
	}
	if q.push(item{}) {
		t.Error("a closed queue takes a frame")
	}
	large := newQueue(10)
	if !large.push(item{frame: make([]byte, 100)}) || large.push(item{}) {
		t.Error("an empty queue takes one frame of any size")
	}
}

// Frames stay in order while the queue grows, shrinks and is compacted.
func TestQueueOrder(t *testing.T) {
	q := newQueue(1 << 20)
	const n = 20_000
	var pusher sync.WaitGroup
	pusher.Go(func() {
		for i := range n {
			for !q.push(item{about: fmt.Sprint(i)}) {
			}
		}
		q.close()
	})
	for i := range n {
		if it, ok := q.pop(); !ok || it.about != fmt.Sprint(i) {
			t.Fatalf("%q, %v at %d", it.about, ok, i)
		}
	}
	if _, ok := q.pop(); ok {
		t.Error("a closed, empty queue has a frame")
	}
	pusher.Wait()
	if q.bytes != 0 {
		t.Errorf("%d bytes are left", q.bytes)
	}
}
