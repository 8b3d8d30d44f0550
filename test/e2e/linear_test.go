package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/hashicorp/consul/api"
)

// What clients saw of the key/value store while the server was killed and
// restarted under them must be what one register, one lock, one pair of keys
// would have shown to clients that took turns.
//
// Each kill has keys of its own, in use before and after it: how long a history
// takes to be judged grows beyond all bounds with the calls whose outcome nobody
// knows, and each kill leaves some. So 100 kills are no more than 100 times one.

// action is one call of a client.
type action struct {
	kind string // get, put, cas, delete, acquire, release, destroy, pair, pairs
	key  string
	new  string // the value written, or the session
	old  string // cas: the value whose index was given
}

// answer is what came back; a lost one leaves open whether the call had an effect.
type answer struct {
	value  string
	done   bool
	lost   bool
	unsent bool // it had none: nobody took the connection
}

// failed is the answer of a call that returned err.
func failed(err error) answer {
	return answer{lost: err != nil, unsent: err != nil && strings.Contains(err.Error(), "connection refused")}
}

const (
	registers = 3
	locks     = 2
	callers   = 8
	lifetime  = 700 * time.Millisecond
)

// history records what clients do.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
	t0  time.Time
}

// do makes a call and notes it, once for each key that it concerns.
func (h *history) do(client int, call func() answer, as ...action) answer {
	began := time.Since(h.t0).Nanoseconds()
	out := call()
	ended := time.Since(h.t0).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	if out.unsent {
		return out
	}
	for _, a := range as {
		if out.lost {
			if a.kind == "get" || a.kind == "pairs" {
				continue // a read without an answer says nothing
			}
			ended = 1 << 60 // it may have its effect at any time
		}
		h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: a, Output: out, Call: began, Return: ended})
	}
	return out
}

// byKey are the histories of the single keys.
func (h *history) byKey() map[string][]porcupine.Operation {
	out := map[string][]porcupine.Operation{}
	seen := map[string]bool{}
	for _, op := range h.ops {
		if a := op.Input.(action); a.kind == "pairs" {
			seen[a.key+" "+op.Output.(answer).value] = true
		}
	}
	for _, op := range h.ops {
		a := op.Input.(action)
		if a.kind == "pair" && op.Output.(answer).lost && !seen[a.key+" "+a.new] {
			continue // nobody has seen it: it may as well never have been
		}
		out[a.key] = append(out[a.key], op)
	}
	return out
}

// model is one register, or one lock: its state is a value, or the holder.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		is, a, got := state.(string), input.(action), output.(answer)
		// told reports whether the client may have been told that its condition held.
		told := func(held bool, next string) (bool, any) {
			if held {
				return got.lost || got.done, next
			}
			return got.lost || !got.done, is
		}
		switch a.kind {
		case "get", "pairs":
			return got.value == is, is
		case "put", "pair":
			return true, a.new
		case "delete":
			return true, ""
		case "cas":
			return told(is == a.old, a.new)
		case "acquire":
			return told(is == "" || is == a.new, a.new)
		case "release":
			return told(is == a.new, "")
		default: // destroy
			if is == a.new {
				is = ""
			}
			return true, is
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// caller is one client.
type caller struct {
	id  int
	h   *history
	kv  *api.KV
	ses *api.Session
	raw *api.Raw
	n   int

	round int64                  // of the kills
	seen  map[string]*api.KVPair // what it read last
	held  string                 // its session
}

// begin makes a caller begin anew with the keys of a round.
func (c *caller) begin(round int64) {
	if round != c.round || c.seen == nil {
		c.round, c.seen, c.held = round, map[string]*api.KVPair{}, ""
	}
}

// key names a key of the round.
func (c *caller) key(kind string, n int) string { return fmt.Sprintf("%s/%d/%d", kind, c.round, n) }

func (c *caller) unique() string { c.n++; return fmt.Sprintf("%d.%d", c.id, c.n) }

// within bounds a call: a server that was killed does not answer.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 3*time.Second)
}

func (c *caller) register() {
	key := c.key("reg", rand.IntN(registers))
	ctx, cancel := within()
	defer cancel()
	w := new(api.WriteOptions).WithContext(ctx)
	switch was := c.seen[key]; {
	case rand.IntN(4) == 0:
		v := c.unique()
		c.h.do(c.id, func() answer {
			_, err := c.kv.Put(&api.KVPair{Key: key, Value: []byte(v)}, w)
			return failed(err)
		}, action{kind: "put", key: key, new: v})
	case rand.IntN(12) == 0:
		c.h.do(c.id, func() answer {
			_, err := c.kv.Delete(key, w)
			return failed(err)
		}, action{kind: "delete", key: key})
	case was != nil && rand.IntN(2) == 0:
		v := c.unique()
		c.h.do(c.id, func() answer {
			done, _, err := c.kv.CAS(&api.KVPair{Key: key, Value: []byte(v), ModifyIndex: was.ModifyIndex}, w)
			out := failed(err)
			out.done = done
			return out
		}, action{kind: "cas", key: key, new: v, old: string(was.Value)})
	default:
		c.h.do(c.id, func() answer {
			p, _, err := c.kv.Get(key, new(api.QueryOptions).WithContext(ctx))
			if err != nil {
				return answer{lost: true}
			}
			c.seen[key] = p
			if p == nil {
				return answer{}
			}
			return answer{value: string(p.Value)}
		}, action{kind: "get", key: key})
	}
}

// lock takes, gives back, or loses a lock by the end of its session.
func (c *caller) lock() {
	ctx, cancel := within()
	defer cancel()
	w := new(api.WriteOptions).WithContext(ctx)
	if c.held == "" {
		// No lock-delay, which the client's own call cannot ask for: with one, a free
		// lock is refused.
		var made struct{ ID string }
		if _, err := c.raw.Write("/v1/session/create", map[string]string{"LockDelay": "0s"}, &made, w); err != nil {
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
		var ended []action // its end gives back all that it holds
		for l := range locks {
			ended = append(ended, action{kind: "destroy", key: c.key("lock", l), new: session})
		}
		c.h.do(c.id, func() answer {
			_, err := c.ses.Destroy(session, w)
			return failed(err)
		}, ended...)
	case 1, 2, 3:
		c.h.do(c.id, func() answer {
			done, _, err := c.kv.Release(pair, w)
			out := failed(err)
			out.done = done
			return out
		}, action{kind: "release", key: key, new: c.held})
	default:
		c.h.do(c.id, func() answer {
			done, _, err := c.kv.Acquire(pair, w)
			out := failed(err)
			out.done = done
			return out
		}, action{kind: "acquire", key: key, new: c.held})
	}
}

// pair writes two keys in one transaction, or reads both in one: they are one
// register.
func (c *caller) pair(t *testing.T) {
	ctx, cancel := within()
	defer cancel()
	q := new(api.QueryOptions).WithContext(ctx)
	one, two, both := c.key("pair", 1), c.key("pair", 2), c.key("pair", 0)
	if rand.IntN(2) == 0 {
		v := c.unique()
		c.h.do(c.id, func() answer {
			ok, _, _, err := c.kv.Txn(api.KVTxnOps{
				{Verb: api.KVSet, Key: one, Value: []byte(v)}, {Verb: api.KVSet, Key: two, Value: []byte(v)},
			}, q)
			out := failed(err)
			out.done = ok
			return out
		}, action{kind: "pair", key: both, new: v})
		return
	}
	c.h.do(c.id, func() answer {
		ok, r, _, err := c.kv.Txn(api.KVTxnOps{
			{Verb: api.KVGetOrEmpty, Key: one}, {Verb: api.KVGetOrEmpty, Key: two},
		}, q)
		if err != nil || !ok {
			return answer{lost: true}
		}
		a, b := string(r.Results[0].Value), string(r.Results[1].Value)
		if a != b {
			t.Errorf("a transaction read %q and %q of what is written together", a, b)
		}
		return answer{value: a}
	}, action{kind: "pairs", key: both})
}

func TestWhatClientsSeeIsLinearizable(t *testing.T) {
	a := start(t, map[string]any{"log_level": "warn"})
	h := &history{t0: time.Now()}
	stop := make(chan struct{})
	var running sync.WaitGroup
	var round atomic.Int64
	for i := range callers {
		client := a.client()
		c := &caller{id: i, h: h, kv: client.KV(), ses: client.Session(), raw: client.Raw()}
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.begin(round.Load())
				switch rand.IntN(3) {
				case 0:
					c.register()
				case 1:
					c.lock()
				default:
					c.pair(t)
				}
				// The history must stay short enough to be judged.
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			}
		})
	}
	for range kills(t) {
		time.Sleep(lifetime)
		a.kill()
		a.run()
		time.Sleep(lifetime)
		round.Add(1)
	}
	close(stop)
	running.Wait()
	judge(t, h)
}

// judge fails for each key whose history is none that turns could have given.
func judge(t *testing.T, h *history) {
	t.Helper()
	t.Logf("%d calls over %d kills", len(h.ops), kills(t))
	if len(h.ops) < 100*kills(t) {
		t.Errorf("%d calls are no load", len(h.ops))
	}
	for key, ops := range h.byKey() {
		result, info := porcupine.CheckOperationsVerbose(model, ops, time.Minute)
		if result == porcupine.Ok {
			continue
		}
		path := filepath.Join(t.ArtifactDir(), strings.ReplaceAll(key, "/", "-")+".html")
		if err := porcupine.VisualizePath(model, info, path); err != nil {
			path = err.Error()
		}
		t.Errorf("the history of %s, of %d calls, is %v: %s", key, len(ops), result, path)
	}
}
