package quorum

import (
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// recallWithin is how long the answer to a proposal that was made is waited for, before
// it is worked out from the history.
const recallWithin = 100 * time.Millisecond

// recall returns the answer to a proposal that was evaluated when the slot was moved from a revision.
func (d *decision) recall(ctx context.Context, was int64) (answer, error) {
	timer := time.NewTimer(recallWithin)
	defer timer.Stop()
	for {
		select {
		case got := <-d.attempts:
			if got.err == nil && got.r.Succeeded {
				return d.evaluated(got.r), nil
			}
		case <-timer.C:
			at, err := d.movedAt(ctx, was)
			if err != nil {
				return answer{}, err
			}
			return d.history(ctx, at)
		}
	}
}

// movedAt returns the revision at which the slot was moved from another one.
func (d *decision) movedAt(ctx context.Context, was int64) (int64, error) {
	if !d.removes {
		return d.slot.revision, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range d.s.client.Watch(ctx, d.slot.key, clientv3.WithRev(was+1)) {
		if err := r.Err(); err != nil {
			return 0, err
		}
		if len(r.Events) > 0 {
			return r.Events[0].Kv.ModRevision, nil
		}
	}
	return 0, ctx.Err()
}

// history evaluates the proposal as etcd did: on the state before a revision.
func (d *decision) history(ctx context.Context, at int64) (answer, error) {
	a := answer{revision: at}
	var err error
	if a.made, err = d.s.conditionsHeld(ctx, d.proposal.conditions, a.revision-1); err != nil || !a.made {
		return a, err
	}
	for _, op := range d.proposal.operations {
		held := false
		if op.IsTxn() {
			conditions, _, _ := op.Txn()
			if held, err = d.s.conditionsHeld(ctx, conditions, a.revision-1); err != nil {
				return a, err
			}
		}
		a.nested = append(a.nested, held)
	}
	return a, nil
}

// conditionsHeld reports whether conditions held at a revision.
func (s *Store) conditionsHeld(ctx context.Context, conditions []clientv3.Cmp, at int64) (bool, error) {
	for _, c := range conditions {
		compare := c.GetCompare()
		options := []clientv3.OpOption{clientv3.WithRev(at), clientv3.WithKeysOnly()}
		if len(compare.RangeEnd) > 0 {
			options = append(options, clientv3.WithRange(string(compare.RangeEnd)))
		}
		r, err := s.get(ctx, string(compare.Key), options...)
		if err != nil {
			return false, err
		}
		revisions := make([]int64, 0, 1)
		for _, kv := range r.Kvs {
			revisions = append(revisions, kv.ModRevision)
		}
		if len(revisions) == 0 {
			revisions = append(revisions, 0) // as etcd compares a key that is not there
		}
		if !slices.ContainsFunc(revisions, func(is int64) bool { return !holds(compare, is) }) {
			continue
		}
		return false, nil
	}
	return true, nil
}

// holds reports whether a revision is as a condition demands: equal, or less.
func holds(c *pb.Compare, is int64) bool {
	if c.Result == pb.Compare_LESS {
		return is < c.GetModRevision()
	}
	return is == c.GetModRevision()
}
