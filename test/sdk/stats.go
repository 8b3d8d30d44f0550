package main

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry/test/sdk/work"
)

// sample is one figure of one run.
type sample struct {
	Row, Policy, Metric string
	Seed                int
	Value               float64
}

// series is a figure second by second, of one run.
type series struct {
	Row, Policy, Metric string
	Seed                int
	Values              []float64
}

// window is a part of a run, by when calls were meant to be sent.
type window struct{ from, to time.Time }

func (w window) has(t time.Time) bool { return !t.Before(w.from) && t.Before(w.to) }

// of returns the calls of the window.
func (w window) of(records []work.Record) (in []work.Record) {
	for _, r := range records {
		if w.has(r.Sent()) {
			in = append(in, r)
		}
	}
	return in
}

// share is the percentage of the calls that went to a server, of those of which it is
// known where they went.
func share(records []work.Record, server int) float64 {
	all, to := 0, 0
	for _, r := range records {
		if r.Server != work.NoServer {
			all++
			if int(r.Server) == server {
				to++
			}
		}
	}
	return percent(to, all)
}

func failed(records []work.Record) (bad []work.Record) {
	for _, r := range records {
		if r.Code != 0 {
			bad = append(bad, r)
		}
	}
	return bad
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// quantile returns that of the latencies, in milliseconds.
func quantile(records []work.Record, q float64) float64 {
	if len(records) == 0 {
		return 0
	}
	took := make([]uint32, len(records))
	for i, r := range records {
		took[i] = r.Took
	}
	slices.Sort(took)
	return float64(took[int(q*float64(len(took)-1))]) / 1000
}

// bySecond calls f with the calls of each second of a window.
func bySecond(records []work.Record, w window, f func([]work.Record) float64) []float64 {
	seconds := make([][]work.Record, int(w.to.Sub(w.from)/time.Second))
	for _, r := range records {
		if n := int(r.Sent().Sub(w.from) / time.Second); w.has(r.Sent()) && n < len(seconds) {
			seconds[n] = append(seconds[n], r)
		}
	}
	out := make([]float64, len(seconds))
	for i := range seconds {
		out[i] = f(seconds[i])
	}
	return out
}

// spread is a figure over all seeds.
type spread struct{ median, min, max float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return spread{}
	}
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// processor reads how much of the machine's processors has been busy.
type processor struct{ busy, all uint64 }

func readProcessor() (p processor) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return p
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for n, f := range strings.Fields(first)[1:] {
		v, _ := strconv.ParseUint(f, 10, 64)
		if n > 7 {
			break // guests are in the others already
		}
		p.all += v
		if n != 3 && n != 4 { // idle, waiting for disks
			p.busy += v
		}
	}
	return p
}

// since returns the percentage from an earlier reading to this one.
func (p processor) since(before processor) float64 {
	return 100 * float64(p.busy-before.busy) / float64(cmp.Or(p.all-before.all, 1))
}
