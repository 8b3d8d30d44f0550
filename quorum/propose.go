package quorum

import (
	"context"
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

// frees reports whether a proposal writes nothing: etcd takes it where the quota was passed.
func (p *proposal) frees() bool { return writeNothing(p.operations) }

func writeNothing(ops []clientv3.Op) bool {
	return !slices.ContainsFunc(ops, func(op clientv3.Op) bool {
		if op.IsTxn() {
			_, then, otherwise := op.Txn()
			return !writeNothing(then) || !writeNothing(otherwise)
		}
		return op.IsPut()
	})
}

// answer is the result of a proposal that was evaluated.
type answer struct {
	revision int64
	made     bool
	nested   []bool // of operations that are transactions: whether their conditions held
}

// propose has a proposal evaluated: exactly once, or after an error perhaps.
func (s *Store) propose(ctx context.Context, p *proposal) (answer, error) {
	if !s.several() && (!s.nearlyFull() || p.frees()) {
		return s.once(ctx, p)
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

// once sends a proposal once. Whether it was made is not known after an error.
func (s *Store) once(ctx context.Context, p *proposal) (answer, error) {
	r, err := s.client.Txn(ctx).If(p.conditions...).Then(p.operations...).Commit()
	if err != nil {
		return answer{}, err
	}
	return answerOf(r.Header.Revision, r.Succeeded, r.Responses), nil
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
	removes  bool // the slot's key, in place of writing it: there is no room
	attempts chan attempt
	open     int // attempts that may still be evaluated: without an answer, or with an error that tells nothing
}

// attempt is the answer to one sending of a proposal.
type attempt struct {
	r   *clientv3.TxnResponse
	err error
}

// reach sends the proposal until its result is known.
func (d *decision) reach(ctx context.Context) (answer, error) {
	if !d.slot.known {
		if _, err := d.s.look(ctx, d.slot, d.token); err != nil {
			return answer{}, err
		}
	}
	d.slot.known = false
	for {
		was := d.slot.revision
		if d.removes && was == 0 {
			return d.s.once(ctx, d.proposal)
		}
		unsure := d.s.member.leads.doubt()
		d.send(ctx)
		a, ok, refused := d.await(ctx, unsure)
		if ok || refused != nil && !noSpace(refused) {
			return a, refused
		}
		made, err := d.s.look(ctx, d.slot, d.token)
		made = made || d.removes && d.slot.revision == 0
		switch {
		case err != nil:
			return answer{}, err
		case made:
			d.s.metrics.found.Inc()
			return d.recall(ctx, was)
		case refused != nil && (d.removes || !d.proposal.frees()):
			return answer{}, refused
		case refused != nil:
			d.removes = true
		}
		d.slot.known = false
		d.s.metrics.repeated.Inc()
	}
}

// send sends the proposal once more.
func (d *decision) send(ctx context.Context) {
	here := clientv3.Compare(clientv3.ModRevision(d.slot.key), "=", d.slot.revision)
	move := clientv3.OpPut(d.slot.key, encodeRecord(d.slot.key, []byte(d.token), 0))
	if d.removes {
		move = clientv3.OpDelete(d.slot.key)
	}
	tx := d.s.client.Txn(ctx).If(here).Then(clientv3.OpTxn(d.proposal.conditions, d.proposal.operations, nil), move)
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
	if d.slot.revision, d.slot.known = r.Header.Revision, true; d.removes {
		d.slot.revision = 0
	}
	inner := r.Responses[0].GetResponseTxn()
	return answerOf(r.Header.Revision, inner.GetSucceeded(), inner.GetResponses())
}

// noSpace reports whether an error is about etcd's quota. Of the proposal that passes it etcd says so
// too, and makes it.
func noSpace(err error) bool { return isOf(err, rpctypes.ErrNoSpace) }

// final reports whether an error is etcd's last word, however often it is asked: the
// proposal was not evaluated, unless it passed the quota.
func final(err error) bool {
	if err == nil {
		return false
	}
	for _, e := range []error{
		rpctypes.ErrNoSpace, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrLeaseNotFound, rpctypes.ErrTooManyRequests,
	} {
		if isOf(err, e) {
			return true
		}
	}
	return false
}
