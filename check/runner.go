package check

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
	"github.com/skerryhq/skerry/steady"
)

// tick is how often the Runner looks at the clock at least, so that a stall of
// the process is noticed before anything is judged by it.
const tick = 250 * time.Millisecond

// tickIdle is tick while there are no checks.
const tickIdle = time.Minute

// Config configures a Runner. Kinds and Report must be set.
type Config struct {
	Kinds         Table
	Node          string // spreads the nodes' checks of one target over the interval
	MaxParallel   int    // probes under way at once: the runners; default 256
	OutputMaxSize int    // bytes kept of an output, unless a check asks for less; default 4096
	// Report is called for every change of a check's status, thresholds applied, or
	// output: in order, once at a time for one id, and only for changes. It is called
	// without any lock of the Runner, but Start, Stop and Beat of an id wait for the
	// Report of that id that is under way: Report must not call them for its own id, wait
	// for a lock that their callers hold, or call Close.
	Report     func(id string, r Result)
	Log        *slog.Logger          // default: none
	Registerer prometheus.Registerer // may be nil
	Net        *rescue.Net           // recovers the panics of probes; nil: they are not recovered

	now func() time.Time // tests let it leap, as it does over a stall; default time.Now
}

// Runner runs checks. All methods may be called at once from many goroutines.
type Runner struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	base    time.Time // the zero of all int64 moments
	clock   steady.Clock
	metrics *metrics
	wake    chan struct{} // wakes the scheduler for something that is due earlier

	mu         sync.Mutex
	settled    sync.Cond // a Report has returned
	reporting  int       // Reports under way
	closed     bool
	sleepUntil int64
	pause      time.Duration // at most until the scheduler looks at the clock again

	probes   map[string]*probed
	targets  map[key]*target
	due      slots[*target]
	dueDead  int // slots of due that no longer count
	queues   *queues
	stale    int // targets whose state is kept over a fault of ours
	troubles troubles
	looked   time.Time // at the queues
	warned   time.Time // of targets that wait in them

	ttls      map[string]*ttlCheck
	deadlines slots[*ttlCheck]
	ttlDead   int         // slots of deadlines that no longer count
	overdue   []*ttlCheck // waiting for the expirer
	expiring  bool        // the expirer runs
}

// NewRunner returns a Runner without checks. Close it to end its goroutines.
func NewRunner(cfg Config) *Runner {
	if cfg.MaxParallel <= 0 {
		cfg.MaxParallel = 256
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
	r := &Runner{
		cfg:     cfg,
		base:    cfg.now(),
		wake:    make(chan struct{}, 1),
		pause:   tick,
		probes:  make(map[string]*probed),
		targets: make(map[key]*target),
		ttls:    make(map[string]*ttlCheck),
		queues:  newQueues(cfg.MaxParallel),

		troubles: troubles{},
	}
	r.settled.L = &r.mu
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.metrics = newMetrics(r)
	r.clock.Observe(r.base, tick)
	r.wg.Go(r.schedule)
	return r
}

// Start runs the check under this id from now on, in place of the one that had the id. It
// is probed at once; nothing is reported if the first result equals s. A definition that
// the table cannot run is an error of kind [skerry.Invalid], and changes nothing; Start
// does not ask for the policy.
func (r *Runner) Start(id string, def *skerry.CheckDefinition, s State) error {
	k := r.cfg.Kinds.kind(def)
	if k == nil {
		return invalid("TTL must be > 0 for TTL checks")
	}
	d := r.cfg.Kinds.Clamped(def, r.cfg.OutputMaxSize)
	if s.Status == "" {
		s.Status = d.Status
	}
	first := shown{id: id, status: encode(s.Status), output: s.Output}

	var prober Prober
	if k.New != nil {
		shared := anonymous(&d)
		var err error
		if prober, err = k.New(&shared); err != nil {
			return err
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.silence(id)
	if r.closed {
		return skerry.Errorf(skerry.Unavailable, "check %q was not started: the agent is shutting down", id)
	}
	if prober == nil {
		r.ttls[id] = r.startTTL(first, &d, s)
		delete(r.probes, id)
	} else {
		r.probes[id] = r.join(first, s.Service, k, prober, &d)
		delete(r.ttls, id)
	}
	r.drop(old)
	return nil
}

// Stop ends the check. After it returns Report is not called for this id any
// more. Stopping an unknown check does nothing.
func (r *Runner) Stop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.silence(id)
	delete(r.probes, id)
	delete(r.ttls, id)
	r.drop(old)
}

// Close ends all checks, and waits for the probes and the Reports under way.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	for _, p := range r.probes {
		p.gone = true
	}
	for _, c := range r.ttls {
		c.gone = true
	}
	r.cancel()
	for r.reporting > 0 {
		r.settled.Wait()
	}
	r.mu.Unlock()
	r.wg.Wait()
	r.metrics.unregister()
}

// member is a check of either sort.
type member interface{ face() *shown }

// silence marks the check under id as gone and waits until it is not reported any more.
// It returns that check, still in its places, or nil.
func (r *Runner) silence(id string) member {
	for {
		m := r.lookup(id)
		if m == nil {
			return nil
		}
		m.face().gone = true
		if !m.face().reporting {
			return m
		}
		r.settled.Wait() // another Start or Stop may come first: look again
	}
}

func (r *Runner) lookup(id string) member {
	if c, ok := r.ttls[id]; ok {
		return c
	}
	if p, ok := r.probes[id]; ok {
		return p
	}
	return nil
}

// drop frees the resources of a check that is gone and out of the maps.
func (r *Runner) drop(m member) {
	switch m := m.(type) {
	case *probed:
		r.leave(m)
	case *ttlCheck:
		r.forget(m)
	}
}

// at returns a moment as nanoseconds since the Runner's start.
func (r *Runner) at(now time.Time) int64 { return int64(now.Sub(r.base)) }

// steady returns the moment without the stalls before it, and notices a stall that ends
// now: the first caller after it must not count it.
func (r *Runner) steady(now time.Time) int64 {
	r.clock.Observe(now, r.pause)
	return r.at(now) - int64(r.clock.Stalled())
}

// schedule is the one goroutine that waits for moments.
func (r *Runner) schedule() {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	var told time.Duration // stalls that were logged
	for {
		r.mu.Lock()
		now := r.cfg.now()
		calm := r.steady(now)
		if stalled := r.clock.Stalled(); stalled > told {
			r.cfg.Log.Warn("this process stalled; no check expires for that time", "stall", stalled-told)
			told = stalled
		}
		wait := min(r.runDue(r.at(now)), r.expireDue(calm))
		r.pause = tick
		if len(r.probes)+len(r.ttls) == 0 {
			r.pause = tickIdle
		}
		wait = min(wait, r.pause)
		r.lookAtQueue(now)
		r.sleepUntil = r.at(now) + int64(wait)
		r.mu.Unlock()

		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
	}
}

// wakeBefore makes the scheduler look again if it would sleep past the moment.
func (r *Runner) wakeBefore(at int64) {
	switch {
	case r.pause != tick: // there are checks from now on
		r.steady(r.cfg.now())
		r.pause = tick
	case at >= r.sleepUntil:
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
