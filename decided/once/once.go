// Package once makes the changes of a request once, however often and at however many servers
// the request comes. See DESIGN.md.
package once

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
)

// maxOutcome bounds the outcome in a record, in bytes.
const maxOutcome = 64 << 10

// epochKey has the number of the present epoch. Each sweep begins the next one, and ends the epoch
// before the last. It is read by each commit with a record, so that a commit that a sweep overtook
// is evaluated again.
const epochKey = skerry.Fleeting + "epoch"

// Epoch returns the number of the present epoch, as this server knows it.
func Epoch(kv skerry.KV) uint64 {
	n, err := epochIn(kv.Snapshot())
	if err != nil {
		return 0
	}
	return n
}

type getter interface {
	Get(key string) *skerry.Record
}

func epochIn(g getter) (uint64, error) {
	r := g.Get(epochKey)
	if r == nil {
		return 0, nil
	}
	if r.Damage != nil {
		return 0, r.Damage
	}
	return strconv.ParseUint(string(r.Value), 10, 64)
}

// Current reports whether a request of an epoch is taken in the present one. Later its record may
// have been swept.
func Current(epoch, present uint64) bool { return epoch == present || epoch+1 == present }

// Attempt is one coming of a request that may come again.
type Attempt struct {
	id      string
	epoch   uint64
	prefix  string // of its records
	commits atomic.Int64
	ids     atomic.Int64
	replays atomic.Bool
}

// Begin returns an attempt of the request that has an id. The epoch is the one in which the request
// was first sent. of is what the request asks for: one with the same id that asks for something
// else is another request. The id is a secret of those that sent the request: no record and no log
// has it.
func Begin(epoch uint64, id string, of ...string) *Attempt {
	h := sha256.New()
	for _, part := range append([]string{"record", id}, of...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return &Attempt{id: id, epoch: epoch, prefix: fmt.Sprintf("%s%d/%s/", skerry.Fleeting, epoch, hex.EncodeToString(h.Sum(nil)[:16]))}
}

// Made returns a function that reports whether another attempt made the first change of the request.
// From then on this attempt makes none: it has the outcomes of the other. The function reads what the
// majority has.
func (a *Attempt) Made(kv skerry.KV) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		if err := kv.Sync(ctx); err != nil {
			return false, err
		}
		a.commits.Store(0)
		a.ids.Store(0)
		if kv.Snapshot().Get(a.key(0)) != nil {
			a.replays.Store(true)
		}
		return a.replays.Load(), nil
	}
}

func (a *Attempt) key(n int64) string { return a.prefix + strconv.FormatInt(n, 10) }

type attemptKey struct{}

// With returns a context of an attempt.
func With(ctx context.Context, a *Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

func of(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// Replays reports whether another attempt made the request: its outcome counts, whatever the
// conditions of the request are now.
func Replays(ctx context.Context) bool {
	a := of(ctx)
	return a != nil && a.replays.Load()
}

// ID returns a new UUID. All attempts of a request get the same, in the order of their calls.
func ID(ctx context.Context) string {
	a := of(ctx)
	if a == nil {
		return uuid.NewString()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "id %d %s", a.ids.Add(1), a.id))
	made := uuid.UUID(sum[:16])
	made[6], made[8] = made[6]&0x0f|0x40, made[8]&0x3f|0x80 // as a random one
	return made.String()
}

// outcome is the value of a record.
type outcome struct {
	Value json.RawMessage `json:",omitempty"`
	Large bool            `json:",omitempty"`
}

var (
	errStale  error = skerry.Errorf(skerry.Internal, "the request came too late: it may have been repeated elsewhere, and was not made here")
	errPartly error = skerry.Errorf(skerry.Internal, "a part of the request was made at another server, and the rest is not known")
	errLarge  error = skerry.Errorf(skerry.Internal, "the request was made, at a server that did not answer, and its answer was too large to be kept: read what it changed")
)

// Update is kv.Update, for the changes of requests. outcome points to all that the change sets
// besides its Tx, or is nil. When another attempt of the request made the change, then Update fills
// in the outcome of that, and returns its index. A change that writes nothing leaves no record.
func Update(ctx context.Context, kv skerry.KV, outcome any, change func(skerry.Tx) error) (index uint64, err error) {
	index, _, err = Make(ctx, kv, outcome, change)
	return index, err
}

// Make is Update that also returns whether this attempt made the change.
func Make(ctx context.Context, kv skerry.KV, outcome any, change func(skerry.Tx) error) (index uint64, own bool, err error) {
	a := of(ctx)
	if a == nil {
		index, err = kv.Update(ctx, change)
		return index, true, err
	}
	c := &commit{attempt: a, key: a.key(a.commits.Add(1) - 1), outcome: outcome, change: change}
	if index, err = kv.Update(ctx, c.evaluate); skerry.KindOf(err) == skerry.Exhausted && !c.tx.puts {
		c.bare = true // a deletion makes room: it must not fail for its record
		index, err = kv.Update(ctx, c.evaluate)
	}
	if err != nil || c.found == nil {
		return index, true, err
	}
	return c.found.Modified, false, decode(c.found.Value, outcome)
}

// commit is one change of an attempt.
type commit struct {
	attempt *Attempt
	key     string // of its record
	outcome any
	change  func(skerry.Tx) error
	bare    bool // without a record

	found *skerry.Record // of another attempt
	tx    watched        // of the last evaluation
}

// evaluate runs the change, and adds the record of its outcome to its writes.
func (c *commit) evaluate(tx skerry.Tx) error {
	c.tx = watched{Tx: tx}
	if c.found = tx.Get(c.key); c.found != nil {
		return nil
	}
	if c.attempt.replays.Load() {
		return errPartly
	}
	if present, err := epochIn(tx); err != nil || !Current(c.attempt.epoch, present) {
		return cmp.Or(err, errStale)
	}
	if err := c.change(&c.tx); err != nil || c.bare || !c.tx.puts && !c.tx.deletes {
		return err
	}
	value, err := encode(c.outcome)
	if err == nil {
		tx.Put(c.key, value, 0)
	}
	return err
}

func encode(out any) ([]byte, error) {
	var o outcome
	var err error
	if out != nil {
		o.Value, err = json.Marshal(out)
	}
	if len(o.Value) > maxOutcome {
		o = outcome{Large: true}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

func decode(value []byte, out any) error {
	var o outcome
	err := json.Unmarshal(value, &o)
	switch {
	case err != nil:
		return err
	case o.Large:
		return errLarge
	case out == nil:
		return nil
	}
	return json.Unmarshal(o.Value, out)
}

// watched notes whether a transaction puts and deletes.
type watched struct {
	skerry.Tx
	puts, deletes bool
}

// Put implements [skerry.Tx].
func (w *watched) Put(key string, value []byte, lease skerry.LeaseID) {
	w.puts = true
	w.Tx.Put(key, value, lease)
}

// Delete implements [skerry.Tx].
func (w *watched) Delete(key string) {
	w.deletes = true
	w.Tx.Delete(key)
}

// DeleteAll implements [skerry.Tx].
func (w *watched) DeleteAll(prefix string) {
	w.deletes = true
	w.Tx.DeleteAll(prefix)
}
