// Package rescue keeps a panic in one request or check from ending the process.
package rescue

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Part is the part that panicked.
type Part string

// The parts.
const (
	HTTP   Part = "http"   // a request
	Parked Part = "parked" // a blocking query that was parked
	DNS    Part = "dns"    // a question
	Check  Part = "check"  // a probe
	Bus    Part = "bus"    // a frame of another server
)

// Net recovers panics, counts them, and logs each with its stack once. The methods of a
// nil *Net recover nothing.
type Net struct {
	log    *slog.Logger
	panics *prometheus.CounterVec

	mu   sync.Mutex
	told map[string]bool // by the place that panicked; as many as the program has places
}

// New returns a net whose metric reg exports.
func New(log *slog.Logger, reg prometheus.Registerer) *Net {
	n := &Net{
		log: log, told: map[string]bool{},
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_panics_total", Help: "Panics that were recovered, by the part that panicked.",
		}, []string{"part"}),
	}
	for _, p := range []Part{HTTP, Parked, DNS, Check, Bus} {
		n.panics.WithLabelValues(string(p))
	}
	reg.MustRegister(n.panics)
	return n
}

// Catch recovers a panic of part, and calls then for one: it must be deferred itself. The
// panic is our fault: then answers that.
func (n *Net) Catch(part Part, then func()) {
	if n == nil {
		return
	}
	if why := recover(); why != nil {
		n.Note(part, why)
		if then != nil {
			then()
		}
	}
}

// Note counts and logs a panic that was recovered, on the goroutine that panicked.
func (n *Net) Note(part Part, why any) {
	n.panics.WithLabelValues(string(part)).Inc()
	place := place()
	n.mu.Lock()
	first := !n.told[place]
	n.told[place] = true
	n.mu.Unlock()
	if first {
		n.log.Error("a panic was recovered; the next at this place are only counted", "part", part, "panic", fmt.Sprint(why), "stack", string(debug.Stack()))
	}
}

// place is where the goroutine panicked, as file and line.
func place() string {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	panicked := false
	for {
		f, more := frames.Next()
		if panicked && (len(f.Function) < 8 || f.Function[:8] != "runtime.") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		panicked = panicked || f.Function == "runtime.gopanic"
		if !more {
			return ""
		}
	}
}
