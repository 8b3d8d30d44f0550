package agent

import (
	"testing"
	"time"
	"unsafe"
)

func newDeadlines(t *testing.T, dir string) *deadlines {
	t.Helper()
	d, err := openDeadlines(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.close() })
	return d
}

// No flipped bit of a word is taken for another time, nor is a word in the place of
// another: its check has a full TTL.
func TestADamagedDeadlineDoesNotCount(t *testing.T) {
	d := newDeadlines(t, t.TempDir())
	now := time.Now()
	d.touch(now)
	slot, other := d.alloc(now.Add(10*time.Second)), d.alloc(now.Add(time.Hour))
	if left, ok := d.left(slot); !ok || (left-10*time.Second).Abs() > time.Millisecond {
		t.Fatalf("left %v, %v", left, ok)
	}
	for _, n := range []int{headWords + int(slot) - 1, aliveWord, bootWord} {
		for bit := range 64 {
			*d.word(n) ^= 1 << bit
			if left, ok := d.left(slot); ok {
				t.Errorf("bit %d of word %d is flipped, and %v are left", bit, n, left)
			}
			*d.word(n) ^= 1 << bit
		}
	}
	*d.word(headWords + int(slot) - 1) = *d.word(headWords + int(other) - 1)
	if left, ok := d.left(slot); ok {
		t.Errorf("the deadline of another check is taken: %v", left)
	}
	for _, nonsense := range []time.Time{{}, time.Unix(0, 0)} {
		d.set(slot, nonsense)
		if left, ok := d.left(slot); ok && left > 0 {
			t.Errorf("%v: left %v", nonsense, left)
		}
	}
}

// set returns t as time.Now would have given it if the wall clock had been set by step
// since the process began: the monotonic clock goes on.
func set(t *testing.T, at time.Time, step time.Duration) time.Time {
	t.Helper()
	out := at
	// The seconds of the wall clock are in the bits 30 to 62 of a time's first word.
	*(*uint64)(unsafe.Pointer(&out)) += uint64(step/time.Second) << 30
	if out.Sub(at) != 0 || out.Round(0).Sub(at.Round(0)) != step {
		t.Fatalf("time.Time is another than it was: %v later is %v", step, out)
	}
	return out
}

// A step of the wall clock brings no deadline nearer, and gives none a longer life.
func TestAClockStepMovesNoDeadline(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, -5 * time.Second, 5 * time.Second, 24 * time.Hour} {
		d := newDeadlines(t, t.TempDir())
		now := time.Now()
		slot := d.alloc(now.Add(10 * time.Second))
		d.touch(set(t, now.Add(2*time.Second), step))
		if left, ok := d.left(slot); !ok || (left-8*time.Second).Abs() > 2*time.Millisecond {
			t.Errorf("a step of %v after the beat: left %v, %v, want 8s", step, left, ok)
		}
		d.set(slot, set(t, now.Add(10*time.Second), step))
		if left, ok := d.left(slot); !ok || (left-8*time.Second).Abs() > 2*time.Millisecond {
			t.Errorf("a step of %v before the beat: left %v, %v, want 8s", step, left, ok)
		}
	}
}
