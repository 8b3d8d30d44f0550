package replication

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
)

// Config configures a [Replicator].
type Config struct {
	Primary string // the datacenter that decides
	Tokens  bool   // tokens are copied too
	Store   *access.Store
	KV      skerry.KV // of the store
	// Ask has a server of the primary datacenter answer a question. It returns an error if none does.
	Ask func(context.Context, Question) (Answer, error)
	// Leads reports whether this server copies: one of the datacenter does.
	Leads func() bool
	// Led reports whether any server of the datacenter does.
	Led func() bool
	Log *slog.Logger
}

// Replicator keeps the copy of a datacenter. Run must be called at each of its servers.
type Replicator struct {
	cfg Config

	since uint64 // the index that the copy is at; 0: that of the store's state
	again bool   // the last copy was whole

	whole, changes, failed atomic.Uint64
}

const (
	// roundEvery is the shortest time between two questions, and restAfter after two whole copies.
	roundEvery = time.Second
	restAfter  = 5 * time.Second
	// answerWithin bounds the wait for an answer, beyond the time that a question waits for a change.
	answerWithin = waitFor + 10*time.Second
	// tellAfter is how long copying fails before it is logged: a server that starts does not reach other datacenters at once.
	tellAfter = 5 * time.Second
	// noteEvery is how often it is noted that the copy is current, or still is not.
	noteEvery = 30 * time.Second
	// maxCopy bounds a whole copy, in bytes.
	maxCopy = 256 << 20
)

// New returns a replicator.
func New(cfg Config) *Replicator { return &Replicator{cfg: cfg} }

// Run copies until ctx ends, while this server is the one that does.
func (r *Replicator) Run(ctx context.Context) {
	var since time.Time // when it began to fail; zero: it does not
	told := false
	for {
		began, pause := time.Now(), roundEvery
		if !r.cfg.Leads() {
			r.since, since, told = 0, time.Time{}, false
		} else if whole, err := r.round(ctx); ctx.Err() == nil {
			r.note(ctx, err)
			if whole && r.again {
				pause = restAfter
			}
			r.again = whole
			switch {
			case err == nil:
				if told {
					r.cfg.Log.Info("the policies and tokens of the primary datacenter are copied again", "primary_datacenter", r.cfg.Primary)
				}
				since, told = time.Time{}, false
			case since.IsZero():
				since = began
			case !told && time.Since(since) >= tellAfter:
				told = true
				r.cfg.Log.Warn("the policies and tokens of the primary datacenter cannot be copied: those that were copied hold", "primary_datacenter", r.cfg.Primary, "error", err)
			}
		}
		timer := time.NewTimer(time.Until(began.Add(pause)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// round asks once, and takes what the answer has. whole reports whether that was a whole copy.
func (r *Replicator) round(ctx context.Context) (whole bool, err error) {
	state := r.cfg.Store.CopyState()
	q := Question{Tokens: r.cfg.Tokens}
	if state.Source == r.cfg.Primary {
		q.Since, q.Digest = cmp.Or(r.since, state.Index), r.cfg.Store.Records(r.cfg.Tokens).Digest()
	}
	a, err := r.ask(ctx, q)
	switch {
	case err != nil:
		r.failed.Add(1)
		return false, err
	case !r.cfg.Leads():
		return false, nil
	case a.Whole:
		r.whole.Add(1)
	case len(a.Records) > 0:
		r.changes.Add(1)
	}
	if a.Whole || len(a.Records) > 0 || a.State.Tokens != state.Tokens && !r.cfg.Tokens {
		if err := r.cfg.Store.Take(ctx, state, a.State, a.Whole, a.Records); err != nil {
			r.since = 0
			r.failed.Add(1)
			return a.Whole, err
		}
	}
	r.since = a.State.Index
	return a.Whole, nil
}

// ask asks a question, and for all parts of a whole copy. The copy is at the index of its first part: changes
// that come meanwhile are asked for next.
func (r *Replicator) ask(ctx context.Context, q Question) (Answer, error) {
	a, err := r.askPart(ctx, q)
	for more, total := a.More, size(a.Records); err == nil && more; {
		var part Answer
		q.After = a.Records[len(a.Records)-1].Key
		if part, err = r.askPart(ctx, q); err != nil {
			break
		}
		more, total = part.More, total+size(part.Records)
		switch {
		case !part.Whole || more && len(part.Records) == 0:
			err = skerry.Errorf(skerry.Invalid, "the datacenter %s sent a copy that is not whole", r.cfg.Primary)
		case total > maxCopy:
			err = skerry.Errorf(skerry.Exhausted, "the policies and tokens of the datacenter %s have more than %d bytes", r.cfg.Primary, maxCopy)
		}
		a.Records = append(a.Records, part.Records...)
	}
	return a, err
}

func (r *Replicator) askPart(ctx context.Context, q Question) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	a, err := r.cfg.Ask(ctx, q)
	if err == nil && (a.State.Source != r.cfg.Primary || a.More && len(a.Records) == 0) {
		err = skerry.Errorf(skerry.Invalid, "the datacenter %s answers as %q", r.cfg.Primary, a.State.Source)
	}
	return a, err
}

// statusKey has the last result of copying. It is not below the keys of access control: a change of those is told to all
// agents.
const statusKey = "acl-copied"

// status is the last result of copying.
type status struct {
	Success time.Time `json:"success,omitzero"`
	Error   time.Time `json:"error,omitzero"`
	Message string    `json:"message,omitempty"`
	Failing bool      `json:"failing,omitempty"` // Error is later than Success
}

func (r *Replicator) status() (s status) {
	if one := r.cfg.KV.Snapshot().Get(statusKey); one != nil {
		json.Unmarshal(one.Value, &s)
	}
	return s
}

// note keeps the result of a round for all servers, if it is another one than before, and now and then.
func (r *Replicator) note(ctx context.Context, err error) {
	now, s := time.Now().UTC(), r.status()
	switch {
	case err == nil && !s.Failing && now.Sub(s.Success) < noteEvery && !now.Before(s.Success):
		return
	case err == nil:
		s.Success, s.Failing = now, false
	case s.Failing && s.Message == err.Error() && now.Sub(s.Error) < noteEvery && !now.Before(s.Error):
		return
	default:
		s.Error, s.Message, s.Failing = now, err.Error(), true
	}
	value, _ := json.Marshal(s) // times and a text
	// Without a majority nothing is noted: the log has it.
	r.cfg.KV.Update(ctx, func(tx skerry.Tx) error {
		tx.Put(statusKey, value, 0)
		return nil
	})
}

// State describes the copy, as this server knows it.
func (r *Replicator) State() skerry.Replication {
	state, s := r.cfg.Store.CopyState(), r.status()
	return skerry.Replication{
		Source: r.cfg.Primary, Running: r.cfg.Led(), Tokens: r.cfg.Tokens,
		PolicyIndex: state.Policies, RoleIndex: state.Roles, TokenIndex: state.Tokens,
		Success: s.Success, Failure: s.Error, Reason: s.Message,
	}
}
