// Package wan knows the servers of other datacenters. It exchanges with them which servers there are, measures the round
// trips, and picks the nearest server that answers.
package wan

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rest"
)

// Config configures a [Directory].
type Config struct {
	Self Server
	// Join are the addresses of servers in other datacenters, host:port of their ports.server. One that answers is enough.
	Join []string
	// Kept are servers of other datacenters that were known before this start.
	Kept []Server
	// RetryEvery is the time between two tries of an address in Join, after the first minute.
	RetryEvery time.Duration
	// Own returns the servers of this datacenter.
	Own func() []Server
	// Ask sends a word to the server at an address, and returns the one that it answers with.
	Ask        func(ctx context.Context, address string, w Word) (Word, error)
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Directory is the servers of other datacenters. Its methods may be called at once.
type Directory struct {
	cfg   Config
	asks  sync.WaitGroup
	round int // of Run
	self  *coordinate.Client

	mu    sync.Mutex
	all   map[string]*datacenter
	peers map[string]*coordinate.Coordinate // the other servers of this datacenter
}

// datacenter is one other datacenter.
type datacenter struct {
	servers map[string]*server // by name
	first   string             // the server that is picked while it answers
	survey  bool               // all servers are to be measured
	heard   time.Time
	since   time.Time // when it was learned of
	resting rest.Servers
}

// server is one server of another datacenter.
type server struct {
	Server
	up     bool // its last answer came
	asking bool
	heard  time.Time
	trips  []time.Duration // the last ones, the newest last
	at     *coordinate.Coordinate
}

const (
	// roundEvery is the time between two questions to the two nearest servers of each datacenter, and within bounds one.
	roundEvery = time.Second
	within     = 3 * time.Second
	// surveyEvery is after how many rounds all servers of a datacenter are measured, and flood after how many a server of
	// this one is asked which datacenters it knows.
	surveyEvery = 30
	flood       = 10
	// kept is how many round trips of a server are kept, and live how many servers of a datacenter are asked in each round.
	kept = 9
	live = 2
	// coldAfter is the time without a question after which a connection may be closed. A question on a new one takes
	// several round trips, and is not measured.
	coldAfter = 4 * time.Second
	// forgetAfter is after which time without an answer a datacenter is forgotten.
	forgetAfter = 72 * time.Hour
	// joinSoon is for how long the addresses of Join are tried each second.
	joinSoon = time.Minute
)

// New returns a directory that has heard of nothing yet.
func New(cfg Config) *Directory {
	self, err := coordinate.NewClient(coordinate.DefaultConfig())
	if err != nil {
		panic(err) // the default is valid
	}
	d := &Directory{cfg: cfg, self: self, all: map[string]*datacenter{}, peers: map[string]*coordinate.Coordinate{}}
	for _, s := range cfg.Kept {
		if s.check() == nil && s.Datacenter != cfg.Self.Datacenter {
			d.add(s, false)
		}
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(metrics{d})
	}
	return d
}

// Run asks the servers until ctx ends.
func (d *Directory) Run(ctx context.Context) {
	defer d.asks.Wait()
	for _, address := range d.cfg.Join {
		d.asks.Go(func() { d.join(ctx, address) })
	}
	t := time.NewTicker(roundEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			d.rounds(ctx)
		}
	}
}

// join asks an address of Join until its datacenter is reached, and again whenever it is not.
func (d *Directory) join(ctx context.Context, address string) {
	began, told, reached := time.Now(), "", ""
	for {
		var err error
		if !d.Reached(reached) {
			var w Word
			if w, err = d.ask(ctx, address); err == nil {
				reached = w.From.Datacenter
				d.learn(w)
			}
			if err == nil && reached == d.cfg.Self.Datacenter {
				err = fmt.Errorf("it is of this datacenter, %q: name it in retry_join", reached)
			}
		}
		if ctx.Err() != nil {
			return
		}
		if text := fmt.Sprint(err); text != told {
			if told = text; err != nil {
				d.cfg.Log.Warn("a server of retry_join_wan cannot be joined yet", "address", address, "error", err)
			}
		}
		pause := roundEvery
		if time.Since(began) > joinSoon {
			pause = max(d.cfg.RetryEvery, roundEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (d *Directory) ask(ctx context.Context, address string) (Word, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	w, err := d.cfg.Ask(ctx, address, d.word())
	if err == nil {
		err = w.check()
	}
	return w, err
}

// rounds asks the servers whose turn it is. None is asked twice at once.
func (d *Directory) rounds(ctx context.Context) {
	d.round++
	if own := d.cfg.Own(); d.round%flood == 1 && len(own) > 1 {
		s := own[(d.round/flood)%len(own)]
		if s.Name != d.cfg.Self.Name {
			d.asks.Go(func() { d.measure(ctx, s.Datacenter, s, true) })
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, dc := range d.all {
		if time.Since(later(dc.heard, dc.since)) > forgetAfter {
			d.cfg.Log.Warn("a datacenter is forgotten: its servers were silent for 72 h", "datacenter", name)
			delete(d.all, name)
			continue
		}
		asked := 0
		all := dc.survey || d.round%surveyEvery == 0 || dc.up() < live
		dc.survey = false
		for _, s := range dc.inTurn() {
			if s.asking || dc.resting.Rests(s.Name) || !all && asked == live {
				continue
			}
			asked++
			s.asking = true
			to, cold := s.Server, !s.up || time.Since(s.heard) > coldAfter
			d.asks.Go(func() { d.measure(ctx, name, to, cold) })
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// measure asks one server. cold: there may be no connection yet, so the second answer is measured.
func (d *Directory) measure(ctx context.Context, name string, to Server, cold bool) {
	var err error
	if cold {
		_, err = d.ask(ctx, to.Address)
	}
	began := time.Now()
	var w Word
	if err == nil {
		w, err = d.ask(ctx, to.Address)
	}
	trip := time.Since(began)
	if err == nil && (w.From.Datacenter != to.Datacenter || w.From.Name != to.Name) {
		err = fmt.Errorf("the server at %s is %q of the datacenter %q", to.Address, w.From.Name, w.From.Datacenter)
	}
	if err == nil {
		d.learn(w)
		d.approach(w, trip)
	}
	d.measured(name, to, trip, err)
}

// measured notes the outcome of a question.
func (d *Directory) measured(name string, to Server, trip time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dc := d.all[name]
	if dc == nil || dc.servers[to.Name] == nil {
		return
	}
	s := dc.servers[to.Name]
	s.asking = false
	if s.Address != to.Address {
		return
	}
	was := dc.up() > 0
	if s.up = err == nil; s.up {
		s.heard = time.Now()
		dc.heard = s.heard
		dc.resting.Worked(s.Name)
		s.trips = append(s.trips, trip)
		s.trips = s.trips[max(len(s.trips)-kept, 0):]
	} else if dc.resting.Failed(s.Name, err) {
		d.cfg.Log.Debug("a server of another datacenter does not answer", "datacenter", name, "server", s.Name, "error", err)
	}
	dc.choose()
	switch is := dc.up() > 0; {
	case is && !was:
		d.cfg.Log.Info("a datacenter is reached", "datacenter", name, "server", s.Name, "round_trip", trip.Round(time.Microsecond))
	case was && !is:
		d.cfg.Log.Warn("a datacenter is not reached any more", "datacenter", name, "server", s.Name, "error", err)
	}
}

// choose sets the server that is picked. Another one has to be nearer by a third: round trips vary, and the views that
// are followed at a server move with it.
func (dc *datacenter) choose() {
	ranked := dc.ranked()
	best, now := ranked[0], dc.servers[dc.first]
	if now == nil || !now.up || best.up && best.distance() < now.distance()*2/3-time.Millisecond {
		dc.first = best.Name
	}
}

// ranked returns the servers in the order in which they are picked: those that answer, the nearest first, and then those that were
// never measured.
func (dc *datacenter) ranked() []*server {
	out := slices.Collect(maps.Values(dc.servers))
	slices.SortFunc(out, func(a, b *server) int {
		return cmp.Or(-compare(a.up, b.up), -compare(len(a.trips) > 0, len(b.trips) > 0), cmp.Compare(a.distance(), b.distance()), strings.Compare(a.Name, b.Name))
	})
	return out
}

// inTurn is ranked with the server that is picked before all others.
func (dc *datacenter) inTurn() []*server {
	out := dc.ranked()
	if at := slices.IndexFunc(out, func(s *server) bool { return s.Name == dc.first }); at > 0 {
		first := out[at]
		copy(out[1:at+1], out[:at])
		out[0] = first
	}
	return out
}

func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// up is how many servers answer.
func (dc *datacenter) up() (n int) {
	for _, s := range dc.servers {
		if s.up {
			n++
		}
	}
	return n
}

func (s *server) distance() time.Duration { return median(s.trips) }

// distance is the median of the distances of the servers that answer, or of all if none does.
func (dc *datacenter) distance() time.Duration {
	var trips []time.Duration
	up := dc.up() > 0
	for _, s := range dc.servers {
		if len(s.trips) > 0 && s.up == up {
			trips = append(trips, s.distance())
		}
	}
	return median(trips)
}

// median returns the lower median; 0 of nothing.
func median(of []time.Duration) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2]
}

// Pick returns a server of a datacenter that answers, the nearest at first, and another than the ones in not if there is one.
// ok is false if no server answers.
func (d *Directory) Pick(datacenter string, not ...string) (name, address string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dc := d.all[datacenter]
	if dc == nil {
		return "", "", false
	}
	for _, s := range dc.inTurn() {
		if s.up && !slices.Contains(not, s.Name) {
			return s.Name, s.Address, true
		}
	}
	return "", "", false
}

// Knows reports whether there is a datacenter of a name.
func (d *Directory) Knows(datacenter string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[datacenter] != nil
}

// Reached reports whether a server of a datacenter answers.
func (d *Directory) Reached(datacenter string) bool {
	_, _, ok := d.Pick(datacenter)
	return ok
}

// Datacenters returns the other datacenters, the nearest first.
func (d *Directory) Datacenters() (out []skerry.Datacenter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, dc := range d.all {
		one := skerry.Datacenter{Name: name, Reached: dc.up() > 0, Distance: dc.distance(), Heard: dc.heard}
		for _, s := range dc.servers {
			m := skerry.Member{Self: skerry.Self{Name: s.Name, ID: s.ID, Datacenter: name, Server: true}, Address: s.Address, Alive: s.up}
			if !s.heard.IsZero() {
				m.Heard = time.Since(s.heard)
			}
			one.Servers = append(one.Servers, m)
		}
		slices.SortFunc(one.Servers, func(a, b skerry.Member) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b skerry.Datacenter) int {
		return cmp.Or(-compare(a.Distance > 0, b.Distance > 0), cmp.Compare(a.Distance, b.Distance), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Known returns the servers of other datacenters that are known, for the next start.
func (d *Directory) Known() (out []Server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dc := range d.all {
		for _, s := range dc.servers {
			out = append(out, s.Server)
		}
	}
	slices.SortFunc(out, func(a, b Server) int {
		return cmp.Or(strings.Compare(a.Datacenter, b.Datacenter), strings.Compare(a.Name, b.Name))
	})
	return out
}
