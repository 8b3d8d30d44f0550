package cluster

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// The times of an owner's side.
const (
	attachWithin = time.Second // an attachment is answered
	beatWithin   = time.Second // a beat is answered
)

// OwnerConfig configures an [Owner].
type OwnerConfig struct {
	ID      skerry.OwnerID
	Kind    skerry.OwnerKind
	TTL     time.Duration
	Servers []ServerID // to choose from
	Rand    *rand.Rand
}

// Owner is an owner's side of the protocol: it attaches to one server at a time, beats,
// announces, and moves on when its server is silent. Its methods must not be called at
// once.
type Owner struct {
	cfg OwnerConfig
	out []Envelope

	version skerry.Version
	digest  uint64
	gone    bool
	told    skerry.Version // that the home has
	said    skerry.Version // that was announced last
	state   ownerState
	attach  uint64
	home    ServerID
	retry   time.Time // not before, while detached
	sent    time.Time // the last attach, beat or announcement
	beaten  time.Time // the last beat
	pending bool      // a beat is not answered
	beside  int       // owners at the home, this one among them
	minor   int       // servers in a row that hear no majority
}

type ownerState uint8

const (
	detached ownerState = iota
	attaching
	attached
)

// NewOwner returns an owner with a set of this version and digest, which is attached to no
// server.
func NewOwner(cfg OwnerConfig, v skerry.Version, digest uint64) *Owner {
	return &Owner{cfg: cfg, version: v, digest: digest}
}

// Changed notes that the set has another version. gone: it is withdrawn.
func (o *Owner) Changed(v skerry.Version, digest uint64, gone bool) {
	if v.Epoch > o.version.Epoch {
		o.state, o.attach, o.told = detached, 0, skerry.Version{}
	}
	o.version, o.digest, o.gone = v, digest, gone
}

// Again takes the next version of the same set: it is announced anew.
func (o *Owner) Again() { o.version.Seq++ }

// Told returns the version of the set that the home has, as far as this side knows.
func (o *Owner) Told() skerry.Version { return o.told }

// Said notes that the announcement that is being sent has another version than the owner had when it
// was asked for.
func (o *Owner) Said(v skerry.Version) { o.said = v }

// SetServers sets the servers to choose from.
func (o *Owner) SetServers(ids []ServerID) { o.cfg.Servers = ids }

// Broke notes that the connection with a server broke.
func (o *Owner) Broke(now time.Time, server ServerID) {
	if o.state != detached && o.home == server {
		o.leave(now)
	}
}

// Done reports whether a withdrawal has arrived.
func (o *Owner) Done() bool { return o.gone && o.told == o.version }

// Home returns the server that the owner is attached to; "" while there is none.
func (o *Owner) Home() ServerID {
	if o.state != attached {
		return ""
	}
	return o.home
}

// Version returns the owner's version. It grows by itself when a server knows of a greater
// epoch, as after a clock that went back.
func (o *Owner) Version() skerry.Version { return o.version }

// Ready returns the messages since the last call. An Announce has Attach set: the whole
// set is to be put in.
func (o *Owner) Ready() []Envelope {
	out := o.out
	o.out = nil
	return out
}

// Tick lets time pass.
func (o *Owner) Tick(now time.Time) {
	if o.Done() {
		return
	}
	switch o.state {
	case detached:
		if !now.Before(o.retry) && len(o.cfg.Servers) > 0 {
			o.home = o.choose()
			o.attach++
			o.state, o.sent = attaching, now
			o.send(Attach{Owner: o.cfg.ID, Kind: o.cfg.Kind, TTL: o.cfg.TTL, Version: o.version, Digest: o.digest, Attach: o.attach})
		}
	case attaching:
		if now.Sub(o.sent) > attachWithin {
			o.leave(now)
		}
	case attached:
		if o.pending && now.Sub(o.beaten) > beatWithin {
			o.leave(now)
			return
		}
		if o.told != o.version && now.Sub(o.sent) >= announceAgain {
			o.sent, o.said = now, o.version
			o.send(Announce{Record: Record{Owner: o.cfg.ID, Kind: o.cfg.Kind, TTL: o.cfg.TTL, Version: o.version, Digest: o.digest, Gone: o.gone, Attach: !o.gone}})
		}
		if now.Sub(o.beaten) >= o.cfg.TTL/3 && !o.gone {
			o.beaten, o.pending = now, true
			o.send(Beat{o.cfg.ID, o.version.Epoch, o.attach, o.digest})
		}
	}
}

// announceAgain is the time after which an announcement that was not answered is sent again.
const announceAgain = 300 * time.Millisecond

// Due returns when Tick will have something to do, if no message comes before.
func (o *Owner) Due(now time.Time) time.Time {
	switch {
	case o.Done():
		return now.Add(o.cfg.TTL)
	case o.state == detached:
		return o.retry
	case o.state == attaching:
		return o.sent.Add(attachWithin)
	}
	due := o.beaten.Add(o.cfg.TTL / 3)
	if o.pending {
		due = o.beaten.Add(beatWithin)
	}
	if again := o.sent.Add(announceAgain); o.told != o.version && again.Before(due) {
		due = again
	}
	return due
}

// choose returns the next server: another than the last one where there are several.
func (o *Owner) choose() ServerID {
	others := slices.DeleteFunc(slices.Clone(o.cfg.Servers), func(id ServerID) bool { return id == o.home })
	if len(others) == 0 {
		return o.cfg.Servers[0]
	}
	return others[o.cfg.Rand.IntN(len(others))]
}

func (o *Owner) leave(now time.Time) {
	o.state, o.pending = detached, false
	o.retry = now.Add(time.Duration(o.cfg.Rand.Int64N(int64(spread(o.beside, len(o.cfg.Servers)-1)))))
}

const (
	// movesPerSecond is how many owners a server takes over in a second when another one died: an
	// attachment costs it about a millisecond.
	movesPerSecond = 300
	leastSpread    = 300 * time.Millisecond
	greatestSpread = 10 * time.Second
)

// spread is the time over which the owners of a server spread when they move to others.
func spread(owners, servers int) time.Duration {
	d := time.Duration(owners) * time.Second / time.Duration(movesPerSecond*max(servers, 1))
	return min(max(d, leastSpread), greatestSpread)
}

func (o *Owner) send(m Message) { o.out = append(o.out, Envelope{o.home, m}) }

// Step takes a message from a server. Messages of others than the home are dropped.
func (o *Owner) Step(now time.Time, from ServerID, m Message) {
	if from != o.home {
		return
	}
	switch m := m.(type) {
	case Attached:
		if o.state != attaching || m.Attach != o.attach {
			return
		}
		if !m.OK {
			if m.Known.Epoch > o.version.Epoch {
				o.above(m.Known)
			}
			o.attach = max(o.attach, m.KnownAttach)
			o.state, o.retry, o.home = detached, now, ""
			return
		}
		o.state, o.beaten, o.pending, o.beside = attached, now, false, m.Owners
		o.told = o.version
		if m.Want || o.gone {
			o.told, o.sent = skerry.Version{}, time.Time{}
		}
		if o.elsewhere(m.Minority) {
			o.state, o.retry = detached, now
		}
	case Beaten:
		switch {
		case m.Reattach:
			o.state, o.retry, o.pending = detached, now, false
		default:
			o.pending = false
			if m.Want {
				o.told = skerry.Version{}
			}
			if o.elsewhere(m.Minority) || m.Minority && o.cfg.Rand.IntN(2) == 0 {
				o.leave(now)
			}
		}
	case Told:
		answers := m.Version == o.said
		if answers {
			o.sent = time.Time{} // the next may follow at once
		}
		switch {
		case o.version.Less(m.Version):
			o.above(m.Version)
			o.state, o.retry, o.pending = detached, now, false
		case m.Want:
			o.told = skerry.Version{}
		case answers || m.Version == o.version:
			o.told = m.Version
		}
	}
}

// elsewhere reports whether to look for a server that hears a majority, since the home hears none: the others may take the owner out.
// When as many servers as there are hear none, the owner stays at one of them.
func (o *Owner) elsewhere(minority bool) bool {
	if !minority {
		o.minor = 0
	}
	if !minority || o.gone || o.minor >= len(o.cfg.Servers) || len(o.cfg.Servers) == 1 {
		return false
	}
	o.minor++
	return true
}

// above takes a version above one that a server knows from a time when the owner's clock was
// ahead. The step is random: another server may know a later epoch of that time.
func (o *Owner) above(known skerry.Version) {
	o.version = skerry.Version{Epoch: known.Epoch + 1 + o.cfg.Rand.Uint64N(1000), Seq: o.version.Seq}
	o.attach, o.told = 0, skerry.Version{}
}

// Settled reports whether the home has the present set.
func (o *Owner) Settled() bool { return o.told == o.version && (o.state == attached || o.gone) }
