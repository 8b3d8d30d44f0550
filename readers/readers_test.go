package readers_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerryhq/skerry/readers"
)

// desk is readers with a clock that is moved by hand.
type desk struct {
	*readers.Readers
	t   *testing.T
	now time.Time
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, now: time.Unix(1000, 0)}
	d.Readers = readers.New(func() time.Time { return d.now })
	return d
}

func (d *desk) pass(t time.Duration) { d.now = d.now.Add(t) }

// counts compares the acked, pending and gone readers, and the seconds for which answers are kept.
func (d *desk) counts(c *readers.Count, acked, pending, gone, resolving int) {
	d.t.Helper()
	a, p, g, r := c.Now()
	if a != acked || p != pending || g != gone || int(r.Seconds()) != resolving {
		d.t.Errorf("%d acked, %d pending, %d gone, kept for %v; want %d, %d, %d, %d s", a, p, g, r, acked, pending, gone, resolving)
	}
}

// A reader that waits is acked when it asks for changes after the one that counts, not before.
func TestAReaderThatWaitsIsAckedByItsNextQuestion(t *testing.T) {
	d := newDesk(t)
	d.Asked("web", 1, 10)
	d.Asked("db", 2, 10)
	d.pass(9 * time.Minute)
	c := d.Begin("web", 20)
	d.counts(c, 0, 1, 0, 0)
	d.Asked("web", 1, 15) // its answer crossed the change
	d.counts(c, 0, 1, 0, 0)
	d.Served("web", 1, 20, true)
	d.counts(c, 0, 1, 0, 0)
	d.pass(5 * time.Second)
	d.counts(c, 0, 1, 0, 0)
	d.Asked("web", 1, 20)
	d.counts(c, 1, 0, 0, 0)
	d.Asked("web", 3, 20) // it came later
	d.counts(c, 1, 0, 0, 0)
}

// A reader that got the change and does not ask again is gone after 10 s, one that went away at once, and one that stands
// still never.
func TestReadersThatLeave(t *testing.T) {
	d := newDesk(t)
	for id := range uint64(3) {
		d.Asked("web", id, 10)
	}
	c := d.Begin("web", 20)
	d.Left("web", 0)
	d.counts(c, 0, 2, 1, 0)
	d.Served("web", 1, 20, true)
	d.pass(11 * time.Second)
	d.counts(c, 0, 1, 2, 0)
	d.pass(time.Minute)
	d.counts(c, 0, 1, 2, 0)
}

// A reader that does not wait is acked by its next answer. It is waited for as its questions come.
func TestReadersThatAskAgainAndAgain(t *testing.T) {
	for _, c := range []struct{ gap, waited time.Duration }{{0, 10 * time.Second}, {100 * time.Millisecond, 2 * time.Second}, {5 * time.Second, 15 * time.Second}, {20 * time.Second, 30 * time.Second}} {
		t.Run(fmt.Sprint(c.gap), func(t *testing.T) {
			d := newDesk(t)
			d.Served("web", 1, 10, false)
			d.Served("web", 2, 10, false)
			if c.gap > 0 {
				d.pass(c.gap)
				d.Served("web", 1, 10, false)
				d.Served("web", 2, 10, false)
			}
			count := d.Begin("web", 20)
			d.counts(count, 0, 2, 0, 0)
			d.Served("web", 1, 20, false)
			d.counts(count, 1, 1, 0, 0)
			d.pass(c.waited)
			d.counts(count, 1, 1, 0, 0)
			d.pass(time.Second)
			d.counts(count, 1, 0, 1, 0)
		})
	}
}

// Resolvers keep what they were answered before the change. Later answers have it.
func TestResolversKeepAnswers(t *testing.T) {
	d := newDesk(t)
	d.Resolved("web", 30*time.Second)
	d.Resolved("web", 5*time.Second)
	d.pass(10 * time.Second)
	c := d.Begin("web", 20)
	d.counts(c, 0, 0, 0, 20)
	d.Resolved("web", 60*time.Second)
	d.pass(21 * time.Second)
	d.counts(c, 0, 0, 0, 0)
}

// Old readers are forgotten, and so are services without readers. There are never more than the bound, and a drain of
// a service with more is not safe.
func TestReadersAreBounded(t *testing.T) {
	d := newDesk(t)
	for id := range uint64(70_000) {
		d.Served("web", id, 10, false)
	}
	d.pass(time.Second)
	d.counts(d.Begin("web", 20), 0, 65_537, 0, 0)
	d.pass(2 * time.Minute)
	d.Served("web", 70_001, 10, false)
	d.pass(time.Second)
	d.counts(d.Begin("web", 20), 0, 1, 0, 0)
	for n := range 20_000 {
		d.Served(fmt.Sprint("made-up-", n), 1, 10, false)
	}
	d.pass(2 * time.Minute)
	d.Sweep()
	d.Served("late", 1, 10, false)
	d.counts(d.Begin("late", 20), 0, 1, 0, 0)
}

func BenchmarkServed(b *testing.B) {
	r := readers.New(time.Now)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		r.Served("web", n%1000, n, false)
	}
}
