package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// registers and locks are how many keys a round has.
const (
	registers = 3
	locks     = 2
)

// Client is one client, which makes a call at a time.
type Client struct {
	ID      int
	History *History
	// To returns the client of the server that takes the next call.
	To func() *api.Client

	n     int
	round int64                  // whose keys are in use
	seen  map[string]*api.KVPair // what it read last
	held  string                 // its session
}

// Begin makes the client begin anew with the keys of a round.
func (c *Client) Begin(round int64) {
	if round != c.round || c.seen == nil {
		c.round, c.seen, c.held = round, map[string]*api.KVPair{}, ""
	}
}

// key names a key of the round.
func (c *Client) key(kind string, n int) string { return fmt.Sprintf("%s/%d/%d", kind, c.round, n) }

func (c *Client) unique() string { c.n++; return fmt.Sprintf("%d.%d", c.ID, c.n) }

// within bounds a call: a server that was killed does not answer.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 3*time.Second)
}

// Register reads or writes one key.
func (c *Client) Register() {
	key, kv := c.key("reg", rand.IntN(registers)), c.To().KV()
	ctx, cancel := within()
	defer cancel()
	w := new(api.WriteOptions).WithContext(ctx)
	switch was := c.seen[key]; {
	case rand.IntN(4) == 0:
		v := c.unique()
		c.History.Do(c.ID, func() Answer {
			_, err := kv.Put(&api.KVPair{Key: key, Value: []byte(v)}, w)
			return Failed(err)
		}, Action{Kind: "put", Key: key, New: v})
	case rand.IntN(12) == 0:
		c.History.Do(c.ID, func() Answer {
			_, err := kv.Delete(key, w)
			return Failed(err)
		}, Action{Kind: "delete", Key: key})
	case was != nil && rand.IntN(2) == 0:
		v := c.unique()
		c.History.Do(c.ID, func() Answer {
			done, _, err := kv.CAS(&api.KVPair{Key: key, Value: []byte(v), ModifyIndex: was.ModifyIndex}, w)
			out := Failed(err)
			out.Done = done
			return out
		}, Action{Kind: "cas", Key: key, New: v, Old: string(was.Value)})
	default:
		c.History.Do(c.ID, func() Answer {
			p, _, err := kv.Get(key, (&api.QueryOptions{RequireConsistent: rand.IntN(2) == 0}).WithContext(ctx))
			if err != nil {
				return Answer{Lost: true}
			}
			c.seen[key] = p
			if p == nil {
				return Answer{}
			}
			return Answer{Value: string(p.Value)}
		}, Action{Kind: "get", Key: key})
	}
}

// Lock takes, gives back, or loses a lock by the end of its session.
func (c *Client) Lock() {
	to := c.To()
	kv := to.KV()
	ctx, cancel := within()
	defer cancel()
	w := new(api.WriteOptions).WithContext(ctx)
	if c.held == "" {
		// No lock-delay, which the client's own call cannot ask for: with one, a free
		// lock is refused.
		var made struct{ ID string }
		if _, err := to.Raw().Write("/v1/session/create", map[string]string{"LockDelay": "0s"}, &made, w); err != nil {
			return
		}
		c.held = made.ID
	}
	key := c.key("lock", rand.IntN(locks))
	pair := &api.KVPair{Key: key, Session: c.held}
	switch rand.IntN(7) {
	case 0:
		session := c.held
		c.held = ""
		var ended []Action // its end gives back all that it holds
		for l := range locks {
			ended = append(ended, Action{Kind: "destroy", Key: c.key("lock", l), New: session})
		}
		c.History.Do(c.ID, func() Answer {
			_, err := to.Session().Destroy(session, w)
			return Failed(err)
		}, ended...)
	case 1, 2, 3:
		c.History.Do(c.ID, func() Answer {
			done, _, err := kv.Release(pair, w)
			out := Failed(err)
			out.Done = done
			return out
		}, Action{Kind: "release", Key: key, New: c.held})
	default:
		c.History.Do(c.ID, func() Answer {
			done, _, err := kv.Acquire(pair, w)
			out := Failed(err)
			out.Done = done
			return out
		}, Action{Kind: "acquire", Key: key, New: c.held})
	}
}

// Pair writes two keys in one transaction, or reads both in one: they are one
// register.
func (c *Client) Pair(t testing.TB) {
	kv := c.To().KV()
	ctx, cancel := within()
	defer cancel()
	q := new(api.QueryOptions).WithContext(ctx)
	one, two, both := c.key("pair", 1), c.key("pair", 2), c.key("pair", 0)
	if rand.IntN(2) == 0 {
		v := c.unique()
		c.History.Do(c.ID, func() Answer {
			ok, _, _, err := kv.Txn(api.KVTxnOps{
				{Verb: api.KVSet, Key: one, Value: []byte(v)}, {Verb: api.KVSet, Key: two, Value: []byte(v)},
			}, q)
			out := Failed(err)
			out.Done = ok
			return out
		}, Action{Kind: "pair", Key: both, New: v})
		return
	}
	c.History.Do(c.ID, func() Answer {
		ok, r, _, err := kv.Txn(api.KVTxnOps{
			{Verb: api.KVGetOrEmpty, Key: one}, {Verb: api.KVGetOrEmpty, Key: two},
		}, q)
		if err != nil || !ok {
			return Answer{Lost: true}
		}
		a, b := string(r.Results[0].Value), string(r.Results[1].Value)
		if a != b {
			t.Errorf("a transaction read %q and %q of two keys that are always written together", a, b)
		}
		return Answer{Value: a}
	}, Action{Kind: "pairs", Key: both})
}
