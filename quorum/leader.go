package quorum

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
)

// unsureAfter is how long after a change of leader the commits in flight are in doubt.
// Those that the new leader has are answered by then, where disks are not slow.
const unsureAfter = 250 * time.Millisecond

// leadership follows the changes of leader.
type leadership struct {
	server *etcdserver.EtcdServer
	log    *slog.Logger
	born   time.Time
	heard  atomic.Int64 // when the leader was heard last, in nanoseconds since born

	election time.Duration // within which a new leader is elected
	others   bool          // there can be other members

	mu      sync.Mutex
	changed chan struct{} // closed at the next change of leader
	unsure  chan struct{} // closed unsureAfter a change of leader

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// watchLeader follows the leader until close. A member that cannot have others leads itself.
func watchLeader(server *etcdserver.EtcdServer, election time.Duration, others bool, log *slog.Logger) *leadership {
	ctx, cancel := context.WithCancel(context.Background())
	l := &leadership{server: server, log: log, born: time.Now(), election: election, others: others, changed: make(chan struct{}), unsure: make(chan struct{}), cancel: cancel}
	l.heard.Store(-1)
	l.elected()
	l.done.Go(func() { l.follow(ctx) })
	return l
}

// close ends the following; those that wait for a change of leader are woken.
func (l *leadership) close() {
	l.cancel()
	l.done.Wait()
	l.fire(&l.changed)
}

// follow wakes those that wait for a change of leader.
func (l *leadership) follow(ctx context.Context) {
	for next := l.server.LeaderChangedNotify(); ; {
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		next = l.server.LeaderChangedNotify()
		l.elected()
		l.tell()
		l.fire(&l.changed)
		select {
		case <-ctx.Done():
			return
		case <-time.After(unsureAfter):
		}
		l.fire(&l.unsure)
	}
}

// elected notes that a majority has just elected this member, where it leads.
func (l *leadership) elected() {
	if l.server.Leader() == l.server.MemberID() {
		l.hear(time.Now())
	}
}

// tell logs the leader's name, where there are several members.
func (l *leadership) tell() {
	cluster := l.server.Cluster()
	if leader := cluster.Member(l.server.Leader()); leader != nil && len(cluster.Members()) > 1 {
		l.log.Info("the quorum has a leader", "leader", first(leader.Name, leader.ID.String()), "term", l.server.Term())
	}
}

func (l *leadership) fire(signal *chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(*signal)
	*signal = make(chan struct{})
}

// next returns a channel that is closed at the next change of leader.
func (l *leadership) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// doubt returns a channel that is closed when the requests sent before are in doubt.
func (l *leadership) doubt() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsure
}

// listen asks the leader each election time until ctx ends, also where this member leads: then
// it asks the majority. etcd does not tell when a heartbeat came. read asks, and waits until
// the table has what the leader knew.
func (l *leadership) listen(ctx context.Context, read func(context.Context) error) {
	tick := time.NewTicker(l.election)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if at := l.heard.Load(); at >= 0 && time.Since(l.born)-time.Duration(at) < l.election {
			continue
		}
		inner, cancel := context.WithTimeout(ctx, l.election)
		asked := time.Now()
		if read(inner) == nil {
			l.hear(asked)
		}
		cancel()
	}
}

// hear notes that the leader answered a request that was sent at a time, and that the table has
// what it knew then. An answer alone does not count: the events that it rests on may be under
// way, as at a member that was stopped and wakes.
func (l *leadership) hear(asked time.Time) {
	at := int64(asked.Sub(l.born))
	for {
		was := l.heard.Load()
		if was >= at || l.heard.CompareAndSwap(was, at) {
			return
		}
	}
}

// contact returns for how long the leader was not heard at most: 0 where this member leads, and
// a majority has confirmed it lately. ok is false when it never heard one.
func (l *leadership) contact() (silent time.Duration, ok bool) {
	leads := l.server.Leader() == l.server.MemberID()
	if leads && !l.others {
		return 0, true
	}
	at := l.heard.Load()
	switch {
	case at < 0 && leads:
		return 0, true // elected this moment
	case at < 0:
		return time.Since(l.born), false
	}
	silent = time.Since(l.born) - time.Duration(at)
	if leads && silent <= confirmedFor*l.election {
		return 0, true
	}
	return silent, true
}

const (
	// confirmedFor is how many election times a leader counts as confirmed by a majority.
	confirmedFor = 4
	// knownFor is how many election times after its last word the leader counts as known: a
	// process that was stopped believes in the leader of before for a moment.
	knownFor = 10
)

// known is contact; ok is false while no leader is known.
func (l *leadership) known() (silent time.Duration, ok bool) {
	silent, ok = l.contact()
	return silent, ok && l.server.Leader() != 0 && silent <= knownFor*l.election
}
