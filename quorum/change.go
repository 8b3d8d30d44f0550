package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"

	"github.com/skerryhq/skerry"
)

var (
	// ErrNotInSync is the error of promoting a learner that has not got all data yet.
	ErrNotInSync = errors.New("the learner is not in sync with the leader yet")
	// ErrNotLeader is the error of a transfer of leadership by another member than the
	// leader.
	ErrNotLeader = errors.New("this member does not lead")
)

var errTooFew = errors.New("too few members would be left that have started")

const (
	// changeWithin bounds a change of the members without a deadline of its own.
	changeWithin = 30 * time.Second
	// changeEvery is how long to wait before a change is tried again.
	changeEvery = time.Second
	// handOverWithin bounds the handing over of leadership by a member that stops.
	handOverWithin = 2 * time.Second
)

// changeErrors are etcd's refusals of a change that stay.
var changeErrors = []struct{ from, to error }{
	{rpctypes.ErrGRPCLearnerNotReady, ErrNotInSync},
	{rpctypes.ErrGRPCMemberNotLearner, errors.New("the member has a vote already")},
	{rpctypes.ErrGRPCTooManyLearners, fmt.Errorf("%d members without a vote are the most: promote or remove one", maxLearners)},
	{rpctypes.ErrGRPCPeerURLExist, errors.New("a member has this peer URL already: remove that one first")},
	{rpctypes.ErrGRPCMemberNotEnoughStarted, errTooFew},
	{rpctypes.ErrGRPCMemberBadURLs, errors.New("the peer URL cannot be used; write it like https://10.0.0.1:8301")},
}

// change makes a change of the members unless done says that the list shows it. It is
// tried again while the cluster is not healthy, or when the answer was lost.
func (ms *Members) change(ctx context.Context, done func([]Member) (bool, error), request func(context.Context, []Member) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, changeWithin)
		defer cancel()
	}
	for {
		now, err := ms.fresh(ctx)
		if err != nil {
			return wrap(err)
		}
		if ok, err := done(now); ok || err != nil {
			return err
		}
		if _, err = sure(ctx, ms.s, func(ctx context.Context) (struct{}, error) { return struct{}{}, request(ctx, now) }); err == nil {
			return nil
		}
		if refused := refusal(err, now); refused != nil {
			return refused
		}
		select {
		case <-ctx.Done():
			return wrap(fmt.Errorf("the members could not be changed: %w", err))
		case <-ms.m.dead.happened:
			return wrap(ms.m.dead.reason())
		case <-time.After(changeEvery):
		}
	}
}

// refusal returns the error of a change that etcd refuses and will refuse again, or nil.
func refusal(err error, now []Member) error {
	for _, e := range changeErrors {
		if !sameStatus(err, e.from) {
			continue
		}
		if e.to == errTooFew && slices.ContainsFunc(now, func(m Member) bool { return m.Name == "" }) {
			return nil // it has not told its name yet, and so counts as not started
		}
		return &skerry.Error{Kind: skerry.Conflict, Subject: "store", Message: e.to.Error(), Err: e.to}
	}
	return nil
}

// fresh returns the members as the majority has them.
func (ms *Members) fresh(ctx context.Context) ([]Member, error) {
	r, err := asked(ctx, ms.s, func(ctx context.Context) (*clientv3.MemberListResponse, error) { return ms.s.client.MemberList(ctx) })
	if err != nil {
		return nil, err
	}
	return ms.listed(r.Members), nil
}

// AddLearner adds a member without a vote that can be reached at a URL, and returns the
// list with it, for [JoinList]. A learner that was added and has not started is found
// again. A member that was alone so far needs its own peer URL first.
func (ms *Members) AddLearner(ctx context.Context, peerURL string) ([]Member, error) {
	if !ms.m.peers {
		return nil, skerry.Errorf(skerry.Conflict, "this server's member has no listener for others: restart it with one")
	}
	var list []Member
	err := ms.change(ctx, func(now []Member) (bool, error) {
		list = now
		if slices.ContainsFunc(now, func(m Member) bool { return slices.Contains(m.PeerURLs, nowhere.String()) }) {
			return false, skerry.Errorf(skerry.Conflict, "this member has no peer URL that others can reach: set it first")
		}
		at := slices.IndexFunc(now, func(m Member) bool { return slices.Contains(m.PeerURLs, peerURL) })
		if at < 0 {
			return false, nil
		}
		if m := now[at]; m.Name != "" || !m.Learner {
			return false, skerry.Errorf(skerry.Conflict, "the member %s (%s) has the peer URL %s already: remove that one first", m.Name, m.ID, peerURL)
		}
		return true, nil
	}, func(ctx context.Context, _ []Member) error {
		r, err := ms.s.client.MemberAddAsLearner(ctx, []string{peerURL})
		if err == nil {
			list = ms.listed(r.Members)
		}
		return err
	})
	return list, err
}

// Promote gives a learner a vote: by its name, or its id. The error is [ErrNotInSync]
// until it has all data.
func (ms *Members) Promote(ctx context.Context, who string) error {
	return ms.change(ctx, func(now []Member) (bool, error) {
		m, err := find(now, who)
		return err == nil && !m.Learner, err
	}, func(ctx context.Context, now []Member) error {
		m, err := find(now, who)
		if err != nil {
			return err
		}
		_, err = ms.s.client.MemberPromote(ctx, m.id)
		return err
	})
}

// Remove removes a member, by its name or its id; one that is not there is no error. A
// member that removes itself hands leadership over first. Its store stops with
// [ErrRemoved] within about a second.
func (ms *Members) Remove(ctx context.Context, who string) error {
	self := false
	err := ms.change(ctx, func(now []Member) (bool, error) {
		_, err := find(now, who)
		if skerry.KindOf(err) == skerry.NotFound && err != nil {
			return true, nil
		}
		return false, err
	}, func(ctx context.Context, now []Member) error {
		m, err := find(now, who)
		if err != nil {
			return err
		}
		if self = m.Self; self {
			ms.m.handOver()
		}
		_, err = ms.s.client.MemberRemove(ctx, m.id)
		return err
	})
	if self && errors.Is(err, ErrRemoved) {
		return nil // it stopped before it had the answer
	}
	return err
}

// SetPeerURL makes a URL the one at which the others reach this member.
func (ms *Members) SetPeerURL(ctx context.Context, peerURL string) error {
	if ms.m.as != nil { // first: a member whose new URL is not on disk might be started in a way that does not fit it
		as := *ms.m.as
		as.Advertise = peerURL
		if err := claimFolder(ms.m.dir, &as); err != nil {
			return err
		}
	}
	self := uint64(ms.m.etcd.Server.MemberID())
	return ms.change(ctx, func(now []Member) (bool, error) {
		return slices.ContainsFunc(now, func(m Member) bool { return m.Self && slices.Equal(m.PeerURLs, []string{peerURL}) }), nil
	}, func(ctx context.Context, _ []Member) error {
		_, err := ms.s.client.MemberUpdate(ctx, self, []string{peerURL})
		return err
	})
}

// TransferLeadership makes another member the leader, by its name or its id; "": any
// with a vote to which there is a connection. The error is [ErrNotLeader] on a member
// that does not lead.
func (ms *Members) TransferLeadership(ctx context.Context, to string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	server := ms.m.etcd.Server
	if server.Leader() != server.MemberID() {
		leader, _ := ms.Leader()
		return &skerry.Error{Kind: skerry.Conflict, Subject: "store", Message: ErrNotLeader.Error() + "; the leader is " + leader.Name, Err: ErrNotLeader}
	}
	var others []Member
	for _, m := range ms.List() {
		if !m.Learner && !m.Self && (to == "" && m.Connected || to != "" && m.is(to)) {
			others = append(others, m)
		}
	}
	if len(others) == 0 {
		return skerry.Errorf(skerry.NotFound, "no other member with a vote can take leadership (%s)", to)
	}
	return wrap(server.MoveLeader(ctx, uint64(server.MemberID()), others[0].id))
}

// handOver gives leadership to another member, where this one leads and there is another.
func (m *member) handOver() {
	if server := m.etcd.Server; m.dead.reason() != nil || server.Leader() != server.MemberID() || !m.otherVoter() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverWithin)
	defer cancel()
	if err := (&Members{m: m}).TransferLeadership(ctx, ""); err != nil {
		m.log.Warn("the quorum's leadership was not handed over; the others elect a leader", "error", err)
	}
}

// otherVoter reports whether another member has a vote.
func (m *member) otherVoter() bool {
	server := m.etcd.Server
	return slices.ContainsFunc(server.Cluster().Members(), func(o *membership.Member) bool { return o.ID != server.MemberID() && !o.IsLearner })
}

func (m *Member) is(who string) bool { return m.Name == who || m.ID == who }

// find returns the member of a name or an id.
func find(members []Member, who string) (Member, error) {
	var found []Member
	for _, m := range members {
		if m.is(who) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return Member{}, skerry.Errorf(skerry.NotFound, "no member of the quorum has the name or id %q", who)
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, m := range found {
		ids = append(ids, m.ID)
	}
	return Member{}, skerry.Errorf(skerry.Conflict, "several members have the name %q: name the id, one of %s", who, strings.Join(ids, ", "))
}
