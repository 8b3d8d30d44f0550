// Package bench puts load on any registry that speaks Consul's HTTP API and DNS, and
// reports throughput, latency, and the CPU of its process.
package bench

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configures the load. Zero values mean their defaults.
type Options struct {
	HTTP        string        // the API's address, host:port; default 127.0.0.1:8500
	DNS         string        // host:port; default 127.0.0.1:8600
	Concurrency int           // callers at once; default 32
	Requests    int           // in all; 0: as many as fit in Duration
	Duration    time.Duration // default 5 s, when Requests is 0
	PID         int           // process whose CPU is counted; 0: none
	Service     string        // name that is read, or prefix of those registered; default "bench"
	Instances   int           // instances of the service that is read; default 10
	Token       string
}

func (o Options) withDefaults() Options {
	if o.HTTP == "" {
		o.HTTP = "127.0.0.1:8500"
	}
	o.HTTP = strings.TrimPrefix(o.HTTP, "http://")
	if o.DNS == "" {
		o.DNS = "127.0.0.1:8600"
	}
	if o.Concurrency == 0 {
		o.Concurrency = 32
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	if o.Service == "" {
		o.Service = "bench"
	}
	if o.Instances == 0 {
		o.Instances = 10
	}
	return o
}

// Result is the result of a run.
type Result struct {
	Name       string        `json:"name"`
	Requests   int64         `json:"requests"`
	Errors     int64         `json:"errors"`
	FirstError string        `json:"first_error,omitempty"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	PerSecond  float64       `json:"per_second"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	P999       time.Duration `json:"p99_9_ns"`
	Max        time.Duration `json:"max_ns"`
	// LastP50 and LastP99 are about the last watcher of each round.
	LastP50 time.Duration `json:"last_p50_ns,omitempty"`
	LastP99 time.Duration `json:"last_p99_ns,omitempty"`
	// CPU of the process named by Options.PID, in microseconds for each request.
	CPUPerRequest float64 `json:"cpu_us_per_request,omitempty"`
}

// worker does one request after another until there are no more.
type worker func(ctx context.Context, n int64) error

// load runs workers until the requests or the time are used up.
func load(ctx context.Context, name string, o Options, newWorker func(i int) (worker, error)) (Result, error) {
	if o.Requests == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	workers := make([]worker, o.Concurrency)
	for i := range workers {
		var err error
		if workers[i], err = newWorker(i); err != nil {
			return Result{}, err
		}
	}
	cpu, err := CPU(o.PID)
	if err != nil {
		return Result{}, err
	}
	r := recorder{}
	var issued atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for _, w := range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := issued.Add(1)
				if o.Requests > 0 && n > int64(o.Requests) {
					return
				}
				began := time.Now()
				if err := w(ctx, n-1); err != nil {
					if ctx.Err() == nil {
						r.fail(err)
					}
					continue
				}
				r.add(time.Since(began))
			}
		})
	}
	wg.Wait()
	res := r.result(name, time.Since(start))
	after, err := CPU(o.PID)
	if err == nil && o.PID != 0 && res.Requests > 0 {
		res.CPUPerRequest = float64((after - cpu).Microseconds()) / float64(res.Requests)
	}
	return res, err
}

// recorder keeps latencies in buckets of 1/32 of a power of two: 3 % wide.
type recorder struct {
	buckets [64 * 32]atomic.Int64
	count   atomic.Int64
	errors  atomic.Int64
	max     atomic.Int64
	first   sync.Once
	err     error
}

func bucketOf(ns int64) int {
	if ns < 32 {
		return int(max(ns, 0))
	}
	exp := bits.Len64(uint64(ns)) - 6
	return (exp+1)*32 + int(ns>>exp)&31
}

// upper is the greatest latency of a bucket.
func upper(b int) time.Duration {
	if b < 64 {
		return time.Duration(b)
	}
	exp := b/32 - 1
	return time.Duration((int64(b%32+32)+1)<<exp - 1)
}

func (r *recorder) add(d time.Duration) {
	r.count.Add(1)
	r.buckets[bucketOf(int64(d))].Add(1)
	storeMax(&r.max, int64(d))
}

func storeMax(at *atomic.Int64, v int64) {
	for {
		was := at.Load()
		if v <= was || at.CompareAndSwap(was, v) {
			return
		}
	}
}

func (r *recorder) fail(err error) {
	r.errors.Add(1)
	r.first.Do(func() { r.err = err })
}

func (r *recorder) quantile(q float64) time.Duration {
	want := int64(q * float64(r.count.Load()))
	var seen int64
	for b := range r.buckets {
		if seen += r.buckets[b].Load(); seen > want {
			return upper(b)
		}
	}
	return time.Duration(r.max.Load())
}

func (r *recorder) result(name string, took time.Duration) Result {
	res := Result{
		Name: name, Requests: r.count.Load(), Errors: r.errors.Load(), Elapsed: took,
		P50: r.quantile(.5), P99: r.quantile(.99), P999: r.quantile(.999), Max: time.Duration(r.max.Load()),
	}
	res.PerSecond = float64(res.Requests) / took.Seconds()
	if r.err != nil {
		res.FirstError = r.err.Error()
	}
	return res
}

// String is the result for people.
func (r Result) String() string {
	s := fmt.Sprintf("%-10s %9.0f /s   p50 %-9v p99 %-9v p99.9 %-9v max %-9v", r.Name, r.PerSecond,
		r.P50.Round(time.Microsecond), r.P99.Round(time.Microsecond), r.P999.Round(time.Microsecond), r.Max.Round(time.Microsecond))
	if r.LastP99 > 0 {
		s += fmt.Sprintf("   last watcher p50 %v p99 %v", r.LastP50.Round(time.Microsecond), r.LastP99.Round(time.Microsecond))
	}
	if r.CPUPerRequest > 0 {
		s += fmt.Sprintf("   %.1f µs CPU each", r.CPUPerRequest)
	}
	if r.Errors > 0 {
		s += fmt.Sprintf("   %d errors, the first: %s", r.Errors, r.FirstError)
	}
	return s
}
