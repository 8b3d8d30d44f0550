// Package roundtrip measures the round trips from this process to servers, and keeps its network coordinate: the distance
// between two coordinates estimates the round trip between their processes.
package roundtrip

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"
)

// Server is a server of this datacenter.
type Server struct {
	Name    string                 `json:"name"`
	Address string                 `json:"address"`      // host:port that it listens on
	At      *coordinate.Coordinate `json:"at,omitempty"` // nil: it has none yet
}

// Config configures a [Meter].
type Config struct {
	// Tell sends the coordinate of this process, which must not be written to, and returns the other servers. The
	// coordinate is the same as before while it has moved little, and nil while nothing was measured.
	Tell func(ctx context.Context, at *coordinate.Coordinate) ([]Server, error)
	// Measure returns the time of a round trip to an address, host:port.
	Measure func(ctx context.Context, address string) (time.Duration, error)
	// Every is the longest time between two rounds, give or take half.
	Every      time.Duration
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Meter measures round trips.
type Meter struct {
	cfg  Config
	self *coordinate.Client
	told *coordinate.Coordinate

	mu    sync.Mutex
	trips map[string][]time.Duration // the last ones to each server, the newest last
}

const (
	// firstPause is the time before the first round. It grows from round to round.
	firstPause = 2 * time.Second
	// within bounds the question to a server, and each measurement.
	within = 3 * time.Second
	// atOnce is how many servers are measured in a round, and kept how many round trips of a server are kept.
	atOnce = 3
	kept   = 5
	// steps is how often each measurement of a round moves the coordinate, so that it settles in few rounds.
	steps = 40
	// A coordinate has moved if it is farther from the one that was told than least and a part of the shortest round trip, or is more
	// certain than it.
	least     = 250 * time.Microsecond
	part      = 0.1
	certainty = 0.2
	// doubt is the least error of a coordinate at the beginning of a round.
	doubt = 0.1
)

// New returns a meter that has measured nothing.
func New(cfg Config) *Meter {
	m := &Meter{cfg: cfg, self: newClient(), trips: map[string][]time.Duration{}}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(metrics{m})
	}
	return m
}

func newClient() *coordinate.Client {
	conf := coordinate.DefaultConfig()
	conf.AdjustmentWindowSize = 0
	c, err := coordinate.NewClient(conf)
	if err != nil {
		panic(err) // the dimensions are those of the default
	}
	return c
}

// Run measures until ctx ends.
func (m *Meter) Run(ctx context.Context) {
	pause := firstPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)):
		}
		m.round(ctx)
		pause = min(pause*3/2, m.cfg.Every)
	}
}

// round measures the round trips to some servers, and moves the coordinate.
func (m *Meter) round(ctx context.Context) {
	servers, err := m.tell(ctx)
	if err != nil {
		m.cfg.Log.Debug("the coordinates of the servers are not known", "error", err)
		return
	}
	m.forget(servers)
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	servers = servers[:min(len(servers), atOnce)]
	var measuring sync.WaitGroup
	for _, s := range servers {
		measuring.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			if trip, err := m.cfg.Measure(ctx, s.Address); err == nil {
				m.note(s.Name, trip)
			}
		})
	}
	measuring.Wait()
	m.doubt()
	for range steps {
		for _, s := range servers {
			m.approach(s)
		}
	}
	if m.settle() {
		if _, err := m.tell(ctx); err != nil {
			m.cfg.Log.Debug("the coordinate is told in the next round", "error", err)
		}
	}
}

func (m *Meter) tell(ctx context.Context) ([]Server, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return m.cfg.Tell(ctx, m.told)
}

func (m *Meter) note(server string, trip time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := append(m.trips[server], trip)
	m.trips[server] = all[max(len(all)-kept, 0):]
}

// forget drops the round trips to servers that are gone.
func (m *Meter) forget(servers []Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.trips {
		if !slices.ContainsFunc(servers, func(s Server) bool { return s.Name == name }) {
			delete(m.trips, name)
			m.self.ForgetNode(name)
		}
	}
}

// approach moves the coordinate towards the right distance from a server's. One without a coordinate counts as at the origin.
func (m *Meter) approach(s Server) {
	trip, ok := m.trip(s.Name)
	if !ok {
		return
	}
	at := s.At
	if at == nil {
		at = coordinate.NewCoordinate(coordinate.DefaultConfig())
	}
	now, err := m.self.Update(s.Name, at, trip)
	if err == nil {
		now.Height = coordinate.DefaultConfig().HeightMin
		err = m.self.SetCoordinate(now)
	}
	if err != nil {
		m.cfg.Log.Debug("a server's coordinate is not used", "server", s.Name, "error", err)
	}
}

// doubt makes the coordinate less certain than it may have become. The steps of a round agree with each other, and a coordinate that
// is quite certain does not move any more.
func (m *Meter) doubt() {
	now := m.self.GetCoordinate()
	now.Error = max(now.Error, doubt)
	if err := m.self.SetCoordinate(now); err != nil {
		m.cfg.Log.Debug("the coordinate is not kept", "error", err)
	}
}

// trip is the median of the last round trips to a server.
func (m *Meter) trip(server string) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return median(m.trips[server])
}

// median returns the lower median.
func median(of []time.Duration) (time.Duration, bool) {
	if len(of) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2], true
}

// settle takes the present coordinate as the one that is told, if it has moved.
func (m *Meter) settle() bool {
	m.mu.Lock()
	var all []time.Duration
	for _, trips := range m.trips {
		trip, _ := median(trips)
		all = append(all, trip)
	}
	m.mu.Unlock()
	if len(all) == 0 {
		return false
	}
	now, bound := m.self.GetCoordinate(), least+time.Duration(part*float64(slices.Min(all)))
	if m.told != nil && moved(m.told, now) <= bound.Seconds() && m.told.Error-now.Error <= certainty {
		return false
	}
	m.told = now
	return true
}

// moved is by how many seconds the distances from a coordinate to others can have changed.
func moved(a, b *coordinate.Coordinate) float64 {
	sum := 0.0
	for i := range a.Vec {
		sum += (a.Vec[i] - b.Vec[i]) * (a.Vec[i] - b.Vec[i])
	}
	return math.Sqrt(sum) + math.Abs(a.Height-b.Height) + math.Abs(a.Adjustment-b.Adjustment)
}
