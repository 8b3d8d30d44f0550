package cluster

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// Timing is the protocol's times. The zero value of a field means its default.
type Timing struct {
	Tick     time.Duration // between two ticks of a server; default 500 ms
	Down     time.Duration // a silent server is down; default 2 s
	Settle   time.Duration // no judging after a peer came up; default 3 s
	Grace    time.Duration // of an orphan, at least; default 5 s
	Recover  time.Duration // no judging after the start; default 5 s
	Heard    time.Duration // between two batches of beats for other homes; default 250 ms
	Takeover time.Duration // a home that does not acknowledge a beat is replaced; default 1 s
	Round    time.Duration // between two comparisons with a random peer, give or take half; default 10 s
	Forget   time.Duration // an owner that ended is remembered for so long, and a 24th part; default 24 h
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{
		{&t.Tick, 500 * time.Millisecond}, {&t.Down, 2 * time.Second}, {&t.Settle, 3 * time.Second}, {&t.Grace, 5 * time.Second},
		{&t.Recover, 5 * time.Second}, {&t.Heard, 250 * time.Millisecond}, {&t.Takeover, time.Second}, {&t.Round, 10 * time.Second},
		{&t.Forget, 24 * time.Hour},
	} {
		if *d.of == 0 {
			*d.of = d.is
		}
	}
	return t
}

// Config configures a [Server].
type Config struct {
	Self    ServerID
	Life    Life
	Members []ServerID // those that count for a majority at the start, see [Server.SetMembers]
	Of      int        // the number that the majority is counted over; default len(Members)
	Timing  Timing
	Guard   Guard // nil: no silence is doubted
	Rand    *rand.Rand
}

// Guard doubts the silence of owners: when more are silent at once than independent
// failures explain, their sets are held.
type Guard interface {
	// Hold returns those of the silent owners that are to be held, and for how long. quiet
	// are other owners that may have failed at the same moment: their homes did not hear them
	// for two thirds of their TTL. The catalog counts both, and those that are held,
	// among all owners of each service, whatever their homes.
	Hold(silent, quiet []skerry.OwnerID) (held []skerry.OwnerID, until time.Duration)
}

// Server is one server's part of the protocol. Its methods must not be called at once;
// each takes the time, which must not go back.
type Server struct {
	cfg     Config
	t       Timing
	off     rules
	owners  map[skerry.OwnerID]*owner
	sums    [buckets]uint64
	sum     uint64
	ring    ring
	peers   map[ServerID]*peer
	voter   bool                                    // this server counts for a majority
	of      int                                     // see SetMembers
	heard   map[ServerID]map[skerry.OwnerID]hearing // that the home has not acknowledged
	batch   uint64                                  // the number of the last Heard
	repairs uint64                                  // counts those that this server began
	turn    int                                     // of the peers that are asked for sets, see fillHoles
	out     Ready

	strangers map[skerry.OwnerID]time.Time // when owners were heard that are not known yet

	homes    map[ServerID][]*owner // the living owners of each home
	holes    map[*owner]bool       // those that live and whose sets are not here
	inBucket [buckets][]*owner     // all owners
	wheel    wheel                 // when owners of this server are due
	poll     poll                  // before the silent are judged
	ended    map[int64][]*owner    // those that ended, by the unit of the time
	horizon  int64                 // what ended in this unit or before is forgotten
	touched  []*owner              // in this step
	speaks   Range
	cluster  string
	store    Mark

	now       time.Time
	living    time.Duration // time that passed without stalls: silence is counted in it
	floor     time.Duration // of living: no silence began before
	started   time.Time
	majority  time.Time // the last moment in a minority
	whole     bool      // it has what its peers know
	again     bool      // a loss was not taken yet, because a peer came up so lately
	untaken   []Record  // losses that wait, see Server.takeLosses
	together  time.Time // the last moment in a majority
	aside     []*owner  // withdrawn here in a minority
	woke      time.Time // when the last stall ended
	doubting  time.Time // since when owners are doubted; zero: none is
	ticked    time.Time
	batched   time.Time
	nextRound time.Time
}

// rules are switched off one at a time by tests, to show that the simulation needs them.
type rules struct {
	attach, contest, freeze, majority, takeover, mutual, repair, askHome, fullTTL bool
}

// peer is what a server knows of another.
type peer struct {
	voter    bool      // it counts for a majority
	spoke    time.Time // when its last message came
	named    time.Time // when it spoke, or a peer said that it hears it
	ticked   time.Time // when its last tick came
	up       time.Time // when it came up
	unheard  time.Time // since when a majority does not hear it; zero: it does
	left     int       // the owners that it had then
	lacked   time.Time // when it did not hear one that is up here
	tick     Tick
	pos      Pos // of its log, up to which all was merged
	asked    time.Time
	behind   time.Time        // since when it has more of a third's log
	stale    bool             // a comparison with it is due
	compared bool             // one was made, since this server started or was away
	adopted  time.Time        // when the last one was finished
	refused  Life             // of it, in which it is refused
	doubts   bool             // it was away, or started lately, by its Sums
	partial  bool             // its Sums left out owners
	moved    time.Time        // when the repair went on last
	repair   uint64           // the number of the repair under way; 0: none
	sums     map[ServerID]Pos // the positions that it stands for
	part     int              // of Fetched that comes next
	large    bool             // the repair under way is of many owners
}

// New returns a server that knows no owner.
func New(cfg Config, now time.Time) *Server {
	s := &Server{
		cfg: cfg, t: cfg.Timing.withDefaults(), owners: map[skerry.OwnerID]*owner{}, peers: map[ServerID]*peer{},
		heard: map[ServerID]map[skerry.OwnerID]hearing{}, homes: map[ServerID][]*owner{}, holes: map[*owner]bool{},
		strangers: map[skerry.OwnerID]time.Time{}, ended: map[int64][]*owner{}, speaks: speaks, now: now, started: now, majority: now, together: now,
	}
	s.ring.life = cfg.Life
	s.setMembers(cfg.Members, cfg.Of)
	s.whole = s.of <= 1
	s.nextRound = now.Add(s.round())
	return s
}

func (s *Server) round() time.Duration {
	return s.t.Round/2 + time.Duration(s.cfg.Rand.Int64N(int64(s.t.Round)))
}

// Ready returns what the steps since the last call have led to. The changes are to be
// applied before the sets are put into the messages that ask for them: those sets are the
// catalog's present ones.
func (s *Server) Ready() Ready {
	s.finish()
	out := s.out
	for i, e := range out.Send {
		switch m := e.Message.(type) {
		case Fetched:
			m.Records = s.fetched(m.Records)
			out.Send[i].Message = m
		case Log:
			for j := range m.Records {
				r := &m.Records[j]
				r.Attach = r.Attach && s.has(r)
			}
		}
	}
	s.out = Ready{}
	return out
}

func (s *Server) send(to ServerID, m Message) { s.out.Send = append(s.out.Send, Envelope{to, m}) }

// Tick lets time pass. It is to be called several times within Timing.Heard.
func (s *Server) Tick(now time.Time) {
	s.advance(now)
	if now.Sub(s.ticked) >= s.t.Tick {
		s.ticked = now
		s.send("", Tick{Head: s.ring.head(), Hears: s.hearing(), Seen: s.seen(), Sum: s.sum, Horizon: s.horizon, Speaks: s.speaks, Cluster: s.cluster, Store: s.store})
		s.fillHoles()
		s.forget(0)
	}
	if now.Sub(s.batched) >= s.t.Heard {
		s.batched = now
		s.batch++
		for _, home := range slices.Sorted(maps.Keys(s.heard)) {
			if owners := s.heard[home]; len(owners) > 0 {
				s.send(home, Heard{slices.Sorted(maps.Keys(owners)), s.batch})
			}
		}
	}
	s.takeOver()
	s.forgetPeers()
	if !now.Before(s.nextRound) || !s.doubting.IsZero() {
		s.nextRound = now.Add(s.round())
		if up := s.upPeers(); len(up) > 0 && !s.off.repair {
			s.ask(up[s.cfg.Rand.IntN(len(up))], Pos{})
		}
	}
	s.judge()
	s.finish()
}

// Step takes a message from another server. A sender that is no member is a peer without a
// vote.
func (s *Server) Step(now time.Time, from ServerID, m Message) {
	s.advance(now)
	defer s.finish()
	if from == s.cfg.Self || from == "" {
		return
	}
	p := s.peer(from)
	p.named, p.spoke = s.now, s.now
	if tick, is := m.(Tick); is && s.refuse(from, p, tick) || !is && !p.takes(m) {
		return
	}
	switch m := m.(type) {
	case Log:
		s.takeLog(from, p, m)
	case Tick:
		s.takeTick(from, p, m)
	case Heard:
		var mine []skerry.OwnerID
		for _, id := range m.Owners {
			// The owner lives, even if the sender knows of another attachment.
			if o := s.owners[id]; o != nil && o.Stand.Home == s.cfg.Self {
				s.renew(o)
				mine = append(mine, id)
			}
		}
		s.send(from, HeardOK{mine, m.N})
	case HeardOK:
		s.acknowledged(from, m)
	case Release:
		s.release(slices.DeleteFunc(m.Owners, func(id skerry.OwnerID) bool { return s.Stand(id).Home != s.cfg.Self }))
	case Ask:
		s.answer(from, m)
	case Sums:
		s.takeSums(from, p, m)
	case Want:
		s.send(from, Owned{s.inBuckets(m.Buckets), m.Repair})
	case Owned:
		s.takeOwned(from, p, m)
	case Fetch:
		s.send(from, Fetched{Records: s.asked(m.Owners), Repair: m.Repair})
	case Fetched:
		s.takeFetched(p, m)
	case HeadAsk:
		s.send(from, Head{m.N, s.ring.head()})
	case QuietAsk:
		s.send(from, Quiet{m.N, s.quiet(nil)})
	case Quiet:
		s.takeQuiet(from, m)
	}
}
