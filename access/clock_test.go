package access

import (
	"testing"
	"time"
	"unsafe"
)

// An expired token is removed when both clocks say so, whatever the wall clock is set to.
func TestAClockThatIsSetRemovesNothingEarly(t *testing.T) {
	start := time.Now()
	for _, step := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		now := start.Add(time.Minute)
		// The seconds of the wall clock are in the bits 30 to 62 of a time's first word.
		*(*uint64)(unsafe.Pointer(&now)) += uint64(step/time.Second) << 30
		if now.Sub(start) != time.Minute || now.Round(0).Sub(start.Round(0)) != time.Minute+step {
			t.Fatal("time.Time is another than it was")
		}
		if got, want := certainly(start, now).Sub(start.Round(0)), time.Minute+min(step, 0); got != want {
			t.Errorf("a step of %v: %v after the start, want %v", step, got, want)
		}
	}
}
