package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skerryhq/skerry/cluster"
)

// BootConfig configures a schedule of servers that form a cluster.
type BootConfig struct {
	Seed            uint64
	Servers, Expect int
	Faults          time.Duration
	// New makes a server's part; nil: cluster.NewBoot.
	New func(self cluster.ServerID, url string, expect int, kept cluster.Kept, now time.Time) *cluster.Boot
}

// booting is a server that forms a cluster, with its disk.
type booting struct {
	id   cluster.ServerID
	core *cluster.Boot
	disk cluster.Kept
	up   bool
	from time.Time // when it is started first
}

type bootWorld struct {
	cfg     BootConfig
	r       *rand.Rand
	now     time.Time
	began   time.Time
	servers []*booting
	flying  []flight
	cut     map[[2]string]bool
	lists   map[string]bool // the first members of all clusters that were ever started
}

// RunBoot plays a schedule of crashes and cuts. It returns an error that names the seed if
// two clusters come to be, or none.
func RunBoot(cfg BootConfig) error {
	w := &bootWorld{
		cfg: cfg, r: rand.New(rand.NewPCG(cfg.Seed, 2)), now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		cut: map[[2]string]bool{}, lists: map[string]bool{},
	}
	if w.cfg.New == nil {
		w.cfg.New = cluster.NewBoot
	}
	w.began = w.now
	for i := range cfg.Servers {
		w.servers = append(w.servers, &booting{id: cluster.ServerID(fmt.Sprintf("s%d", i)), from: w.now.Add(time.Duration(w.r.IntN(30)) * Step)})
	}
	heal := w.now.Add(cfg.Faults)
	for ; w.now.Before(heal.Add(time.Minute)); w.now = w.now.Add(Step) {
		w.step(heal)
		if len(w.lists) > 1 {
			return fmt.Errorf("seed %d at %v: two clusters: %v", cfg.Seed, w.now.Sub(w.began), w.lists)
		}
	}
	for _, s := range w.servers {
		if s.core.Members() == nil {
			return fmt.Errorf("seed %d: %s knows no cluster; there is %v", cfg.Seed, s.id, w.lists)
		}
	}
	return nil
}

func (w *bootWorld) step(heal time.Time) {
	faulty := w.now.Before(heal)
	for _, s := range w.servers {
		switch {
		case !s.up && w.now.Equal(s.from), !s.up && !faulty, !s.up && w.now.After(s.from) && w.r.IntN(120) == 0:
			s.up = true
			s.core = w.cfg.New(s.id, "http://"+string(s.id), w.cfg.Expect, s.disk, w.now)
		case s.up && faulty && w.r.IntN(120) == 0:
			s.up = false
		}
	}
	if faulty && w.r.IntN(40) == 0 || !faulty {
		w.cut = map[[2]string]bool{}
		if faulty && w.r.IntN(2) == 0 {
			w.split()
		}
	}
	due := w.flying
	w.flying = nil
	for _, f := range due {
		if f.at.After(w.now) {
			w.flying = append(w.flying, f)
			continue
		}
		for _, s := range w.servers {
			if string(s.id) == f.to && s.up && !w.cut[[2]string{f.from, f.to}] {
				s.core.Step(w.now, cluster.ServerID(f.from), f.m)
				w.flush(s)
			}
		}
	}
	for _, s := range w.servers {
		if s.up {
			s.core.Tick(w.now)
			w.flush(s)
		}
	}
}

// flush writes the state to the disk and sends the messages. A crash may come between.
func (w *bootWorld) flush(s *booting) {
	keep, send := s.core.Ready()
	if keep != nil {
		s.disk = *keep
		if keep.Started != nil {
			w.lists[fmt.Sprint(keep.Started.Members)] = true
		}
		if w.now.Before(w.began.Add(w.cfg.Faults)) && w.r.IntN(200) == 0 {
			s.up = false
			return
		}
	}
	for _, e := range send {
		for _, to := range w.servers {
			if to != s && (e.To == "" || e.To == to.id) {
				at := w.now.Add(time.Duration(1+w.r.IntN(6)) * Step)
				w.flying = append(w.flying, flight{w.now, at, string(s.id), string(to.id), e.Message})
			}
		}
	}
}

func (w *bootWorld) split() {
	var side []cluster.ServerID
	for _, s := range w.servers {
		if w.r.IntN(2) == 0 {
			side = append(side, s.id)
		}
	}
	for _, a := range w.servers {
		for _, b := range w.servers {
			if slices.Contains(side, a.id) != slices.Contains(side, b.id) {
				w.cut[[2]string{string(a.id), string(b.id)}] = true
			}
		}
	}
}
