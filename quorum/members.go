package quorum

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"

	"github.com/skerryhq/skerry"
)

// Member is one member of the quorum, as this one knows it.
type Member struct {
	ID        string // etcd's, in hexadecimal; it is another one after each joining
	Name      string // "" until it has told it, up to 6 s after its first start
	PeerURLs  []string
	Learner   bool // it has all data and no vote
	Leader    bool
	Self      bool
	Connected bool // this member had connections to it at most 5 s ago; true for itself

	id uint64
}

// Members is the quorum's list of members, and the changes of it. Changes take up to
// 30 s unless ctx has a deadline, wait while the cluster is not healthy, as etcd is for
// 5 s after the start of a member, and may be made twice.
type Members struct {
	s *Store
	m *member
}

// Members returns the members. The error is of kind Unsupported for a store in an etcd
// cluster of others.
func (s *Store) Members() (*Members, error) {
	if s.member == nil {
		return nil, skerry.Errorf(skerry.Unsupported, "the quorum store is an etcd cluster of others (quorum.endpoints): its members are changed there")
	}
	return &Members{s, s.member}, nil
}

// Members returns the members of the store. It is an error of kind Unavailable while it
// is not open. When the store was opened anew, earlier ones are of no more use.
func (e *Eventual) Members() (*Members, error) {
	s := e.store.Load()
	if s == nil {
		if _, err := e.Ready(); err != nil {
			return nil, err
		}
		return nil, skerry.Errorf(skerry.Unavailable, "No cluster leader: the quorum store is not open yet")
	}
	return s.Members()
}

// List returns the members as this one knows them, ordered by name. It asks no other.
func (ms *Members) List() []Member {
	var out []*pb.Member
	for _, m := range ms.m.etcd.Server.Cluster().Members() {
		out = append(out, own(m))
	}
	return ms.listed(out)
}

// own is a member as etcd itself has it, in the form of its answers.
func own(m *membership.Member) *pb.Member {
	return &pb.Member{ID: uint64(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, IsLearner: m.IsLearner}
}

func (ms *Members) listed(members []*pb.Member) []Member {
	out := make([]Member, 0, len(members))
	for _, m := range members {
		one := ms.member(m)
		one.Connected = one.Self || ms.m.connected(one.ID)
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.id, b.id)) })
	return out
}

// member returns one of the members, without whether it is connected.
func (ms *Members) member(m *pb.Member) Member {
	server := ms.m.etcd.Server
	return Member{
		ID: fmt.Sprintf("%x", m.ID), Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.IsLearner,
		Leader: m.ID == uint64(server.Leader()), Self: m.ID == uint64(server.MemberID()), id: m.ID,
	}
}

// connected reports whether there are connections to another member, by its id.
func (m *member) connected(id string) bool {
	var figure dto.Metric
	if vec := activePeers(); vec == nil || vec.WithLabelValues(m.id(), id).Write(&figure) != nil {
		return false
	}
	return figure.GetGauge().GetValue() > 0
}

// activePeers returns the gauge in which etcd counts its connections to members. They are
// in etcd's metrics alone, and gathering all of those takes a millisecond. Registering the
// gauge again returns it. It is nil if etcd has none by this name any more.
var activePeers = sync.OnceValue(func() *prometheus.GaugeVec {
	err := prometheus.Register(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "etcd", Subsystem: "network", Name: "active_peers", Help: "The current number of active peer connections.",
	}, []string{"Local", "Remote"}))
	var there prometheus.AlreadyRegisteredError
	if !errors.As(err, &there) {
		return nil
	}
	vec, _ := there.ExistingCollector.(*prometheus.GaugeVec)
	return vec
})

// Mark returns how far this member has come: its term, and the last entry of the log that it applied.
func (ms *Members) Mark() (term, index uint64) {
	server := ms.m.etcd.Server
	return server.Term(), server.AppliedIndex()
}

// Leader returns the member that leads. ok is false while none is known. Unlike List it
// does not find out about connections: Connected is true for this member alone.
func (ms *Members) Leader() (leader Member, ok bool) {
	server := ms.m.etcd.Server
	m := server.Cluster().Member(server.Leader())
	if m == nil {
		return Member{}, false
	}
	out := ms.member(own(m))
	out.Connected = out.Self
	return out, true
}

// LeaderChanged returns a channel that is closed at the next change of leader, or when
// the store stops.
func (ms *Members) LeaderChanged() <-chan struct{} { return ms.m.leads.next() }

// LastContact returns for how long this store has not heard the leader, at most: 0 where
// it leads. It is exact to some election times, and to a second for an existing cluster. known is
// false while no leader is known.
func (s *Store) LastContact() (silent time.Duration, known bool) {
	if s.member != nil {
		return s.member.leads.known()
	}
	silent = time.Since(s.born) - time.Duration(s.answered.Load())
	return silent, silent < answersWithin
}

// LastContact is [Store.LastContact]; known is false while the store is not open.
func (e *Eventual) LastContact() (silent time.Duration, known bool) {
	if s := e.store.Load(); s != nil {
		return s.LastContact()
	}
	return 0, false
}

// Stopped returns a channel that is closed when the member could not go on. Err has the
// reason: [ErrRemoved] when it was removed.
func (ms *Members) Stopped() <-chan struct{} { return ms.m.dead.happened }

// Err returns why the member stopped, or nil.
func (ms *Members) Err() error { return ms.m.dead.reason() }
