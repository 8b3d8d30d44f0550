package propagation

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Window is how far back the quantiles of a figure reach.
	Window = 5 * time.Minute
	// perFigure is the most samples of one figure.
	perFigure = 512
)

// buckets are those of all histograms, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30}

// Quantiles are what a figure says, in milliseconds. Both are 0 without changes.
type Quantiles struct {
	P50, P99 float64
	Changes  int // that they are made of
}

// Figure keeps how long changes took lately. Its methods may be called at once. The zero value has no histogram.
type Figure struct {
	histogram prometheus.Observer // nil: none

	mu      sync.Mutex
	samples []sample // a ring once it is full
	next    int
}

type sample struct {
	at   time.Time
	took time.Duration
}

// NewFigure returns a figure that tells a histogram too.
func NewFigure(histogram prometheus.Observer) *Figure { return &Figure{histogram: histogram} }

// Histogram returns a histogram with the buckets of this package.
func Histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Observe notes that a change took so long, at now.
func (f *Figure) Observe(now time.Time, took time.Duration) {
	took = max(took, 0)
	if f.histogram != nil {
		f.histogram.Observe(took.Seconds())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.samples) < perFigure {
		f.samples = append(f.samples, sample{now, took})
		return
	}
	f.samples[f.next] = sample{now, took}
	f.next = (f.next + 1) % perFigure
}

// Quantiles returns those of the changes in the window before now, and of open ones that take so long already.
func (f *Figure) Quantiles(now time.Time, open ...time.Duration) (q Quantiles) {
	all := slices.Clone(open)
	f.mu.Lock()
	for _, s := range f.samples {
		if now.Sub(s.at) < Window {
			all = append(all, s.took)
		}
	}
	f.mu.Unlock()
	if q.Changes = len(all); q.Changes == 0 {
		return q
	}
	slices.Sort(all)
	at := func(part float64) float64 {
		took := all[int(math.Ceil(part*float64(len(all))))-1]
		return float64(took.Microseconds()) / 1000
	}
	q.P50, q.P99 = at(0.5), at(0.99)
	return q
}
