// Package drill plays one fault on a cluster of real processes of this host, while
// programs look services up, register them, write keys and take locks at its agents. It
// counts their calls, and compares the result with the promises.
package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options are those of one drill. Binary and Folder are required.
type Options struct {
	Binary string // the program of servers and agents
	Folder string // an empty folder for their data and logs
	// Slack multiplies the promised times, for a host that is slow or busy; default 1.
	Slack float64
	// Tell gets each event when it happens, with the time since the start; default: none.
	Tell func(at time.Duration, event string)
}

// Drill is a fault that can be played.
type Drill struct {
	Name  string
	Short string // what happens, in a line
	// Expect is what a cluster in production shows at this fault.
	Expect string

	quota    int // of the quorum store in bytes; 0: the default
	promises map[kind]promise
	whole    time.Duration // the promised time from the end of the fault until all is whole
	play     func(*stage) error
}

// promise is the promise about the calls of one kind.
type promise struct {
	fail bool          // calls may fail while the fault lasts
	gap  time.Duration // the longest time between two good answers; 0: any
}

// Count is what the callers of one kind saw.
type Count struct {
	Kind   string
	Calls  int
	Failed int
	Gap    time.Duration // the longest time between two good answers to one caller
	First  string        `json:",omitempty"` // the first failure
}

// Fact is something that took its time.
type Fact struct {
	What     string
	Took     time.Duration
	Promised time.Duration
}

// Result is the outcome of a drill.
type Result struct {
	Drill  string
	Folder string
	Took   time.Duration
	Counts []Count
	Facts  []Fact
	Broken []string // promises that did not hold
	Expect string
}

// All are the drills, by name.
func All() []Drill {
	return slices.SortedFunc(slices.Values(drills), func(a, b Drill) int { return strings.Compare(a.Name, b.Name) })
}

// Run plays the drill of that name. All processes that it started have ended when it
// returns, also when ctx ends. An error is one of the drill itself, not of a promise.
func Run(ctx context.Context, name string, o Options) (*Result, error) {
	i := slices.IndexFunc(drills, func(d Drill) bool { return d.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no drill %q", name)
	}
	if o.Slack == 0 {
		o.Slack = 1
	}
	if o.Tell == nil {
		o.Tell = func(time.Duration, string) {}
	}
	ctx, stop := context.WithCancel(ctx)
	s := &stage{ctx: ctx, o: o, drill: drills[i], began: time.Now()}
	s.result = &Result{Drill: name, Folder: o.Folder, Expect: s.drill.Expect, Facts: []Fact{}, Broken: []string{}}
	defer s.close()
	defer stop()
	if err := s.run(); err != nil {
		return nil, err
	}
	s.result.Took = time.Since(s.began)
	return s.result, nil
}

// run starts the cluster, plays the fault under load, and judges.
func (s *stage) run() error {
	if err := s.start(); err != nil {
		return err
	}
	s.load = newLoad(s)
	defer s.load.end()
	if err := s.load.begin(); err != nil {
		return err
	}
	if err := s.rest(calm); err != nil {
		return err
	}
	if err := s.drill.play(s); err != nil {
		return err
	}
	if err := s.fact("everything was whole again", s.drill.whole, s.whole); err != nil {
		return err
	}
	if err := s.rest(calm); err != nil {
		return err
	}
	s.load.end()
	if err := s.settled(); err != nil {
		return err
	}
	s.judge()
	return nil
}

// calm is how long the load goes on before and after the fault.
const calm = 2 * time.Second

// judge compares the outcome with the promises.
func (s *stage) judge() {
	r := s.result
	for k := range kind(len(kinds)) {
		c := s.load.tallies[k].count(k)
		r.Counts = append(r.Counts, c)
		p := s.drill.promises[k]
		if c.Failed > 0 && !p.fail {
			r.Broken = append(r.Broken, fmt.Sprintf("%s: %d of %d failed, the first with %q", c.Kind, c.Failed, c.Calls, c.First))
		}
		if limit := s.slack(p.gap); limit > 0 && c.Gap > limit {
			r.Broken = append(r.Broken, fmt.Sprintf("%s: there was no good answer for %v, and %v is promised", c.Kind, c.Gap, limit))
		}
	}
	for _, f := range r.Facts {
		if limit := s.slack(f.Promised); limit > 0 && f.Took > limit {
			r.Broken = append(r.Broken, fmt.Sprintf("%s after %v, and %v is promised", f.What, f.Took, limit))
		}
	}
	r.Broken = append(r.Broken, s.load.faults()...)
}

func (s *stage) slack(d time.Duration) time.Duration { return time.Duration(float64(d) * s.o.Slack) }

// fact waits until something is so, and notes how long that took.
func (s *stage) fact(what string, promised time.Duration, is func() error) error {
	began := time.Now()
	if err := s.await(what, promised, is); err != nil {
		return err
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	s.tell("%s, after %v", what, took)
	s.result.Facts = append(s.result.Facts, Fact{what, took, promised})
	return nil
}
