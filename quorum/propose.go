package quorum

import (
	"context"
	"errors"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// proposal is a transaction for etcd: if all conditions hold, all operations are made.
// Conditions compare revisions of keys.
type proposal struct {
	conditions []clientv3.Cmp
	operations []clientv3.Op
}

// answer is the result of a proposal that was evaluated.
type answer struct {
	revision int64
	made     bool
	nested   []bool // of operations that are transactions: whether their conditions held
}

// propose has a proposal evaluated: exactly once, or after an error perhaps.
func (s *Store) propose(ctx context.Context, p *proposal) (answer, error) {
	if !s.several() {
		r, err := s.client.Txn(ctx).If(p.conditions...).Then(p.operations...).Commit()
		if err != nil {
			return answer{}, err
		}
		return answerOf(r.Header.Revision, r.Succeeded, r.Responses), nil
	}
	one, err := s.slots.take(ctx)
	if err != nil {
		return answer{}, err
	}
	defer s.slots.give(one)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &decision{s: s, slot: one, proposal: p, token: s.slots.token(), attempts: make(chan attempt)}
	return d.reach(ctx)
}

func answerOf(revision int64, made bool, responses []*pb.ResponseOp) answer {
	a := answer{revision: revision, made: made}
	for _, r := range responses {
		a.nested = append(a.nested, r.GetResponseTxn().GetSucceeded())
	}
	return a
}

// decision is the making of one proposal where leaders change. Attempts that were not
// answered may still be evaluated: the slot lets only one of them.
type decision struct {
	s        *Store
	slot     *slot
	proposal *proposal
	token    string
	attempts chan attempt
	open     int // attempts that may still be evaluated: without an answer, or with an error that tells nothing
}

// attempt is the answer to one sending of a proposal.
type attempt struct {
	r   *clientv3.TxnResponse
	err error
}

// recallWithin is how long the answer to a proposal that was made is waited for, before
// it is worked out from the history.
const recallWithin = 100 * time.Millisecond

// reach sends the proposal until its result is known.
func (d *decision) reach(ctx context.Context) (answer, error) {
	if !d.slot.known {
		if _, err := d.s.look(ctx, d.slot, d.token); err != nil {
			return answer{}, err
		}
	}
	d.slot.known = false
	for {
		unsure := d.s.member.leads.doubt()
		d.send(ctx)
		if a, ok, err := d.await(ctx, unsure); ok || err != nil {
			return a, err
		}
		made, err := d.s.look(ctx, d.slot, d.token)
		if err != nil {
			return answer{}, err
		}
		if made {
			d.s.metrics.found.Inc()
			return d.recall(ctx)
		}
		d.slot.known = false
		d.s.metrics.repeated.Inc()
	}
}

// send sends the proposal once more.
func (d *decision) send(ctx context.Context) {
	here := clientv3.Compare(clientv3.ModRevision(d.slot.key), "=", d.slot.revision)
	tx := d.s.client.Txn(ctx).If(here).
		Then(clientv3.OpTxn(d.proposal.conditions, d.proposal.operations, nil),
			clientv3.OpPut(d.slot.key, encodeRecord(d.slot.key, []byte(d.token), 0)))
	d.open++
	go func() {
		r, err := tx.Commit()
		select {
		case d.attempts <- attempt{r, err}:
		case <-ctx.Done():
		}
	}()
}

// await waits for an answer. ok is false when the slot has to be asked for the result.
func (d *decision) await(ctx context.Context, unsure <-chan struct{}) (a answer, ok bool, err error) {
	select {
	case got := <-d.attempts:
		if got.err == nil && got.r.Succeeded {
			return d.evaluated(got.r), true, nil
		}
		if got.err == nil || final(got.err) {
			d.open--
		}
		if got.err == nil {
			return answer{}, false, nil // the slot was moved
		}
		if final(got.err) && d.open == 0 {
			d.slot.known = true
			return answer{}, false, got.err
		}
	case <-unsure:
		return answer{}, false, nil
	case <-d.s.gone():
		return answer{}, false, d.s.end()
	case <-ctx.Done():
		return answer{}, false, ctx.Err()
	}
	select {
	case <-time.After(againEvery):
		return answer{}, false, nil
	case <-ctx.Done():
		return answer{}, false, ctx.Err()
	}
}

// evaluated takes the answer out of a response, and notes where the slot is.
func (d *decision) evaluated(r *clientv3.TxnResponse) answer {
	d.slot.revision, d.slot.known = r.Header.Revision, true
	inner := r.Responses[0].GetResponseTxn()
	return answerOf(r.Header.Revision, inner.GetSucceeded(), inner.GetResponses())
}

// final reports whether an error is etcd's last word, however often it is asked: the
// proposal was not evaluated.
func final(err error) bool {
	if err == nil {
		return false
	}
	for _, e := range []error{
		rpctypes.ErrNoSpace, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrLeaseNotFound, rpctypes.ErrTooManyRequests,
	} {
		if errors.Is(err, e) || sameStatus(err, e) {
			return true
		}
	}
	return false
}

// recall returns the answer to a proposal that was evaluated when the slot was moved.
func (d *decision) recall(ctx context.Context) (answer, error) {
	timer := time.NewTimer(recallWithin)
	defer timer.Stop()
	for {
		select {
		case got := <-d.attempts:
			if got.err == nil && got.r.Succeeded {
				return d.evaluated(got.r), nil
			}
		case <-timer.C:
			return d.history(ctx)
		}
	}
}

// history evaluates the proposal as etcd did: on the state before the slot's revision.
func (d *decision) history(ctx context.Context) (answer, error) {
	a := answer{revision: d.slot.revision}
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
