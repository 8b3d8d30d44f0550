package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// quietly is the time until the next decision when nothing is due.
const quietly = time.Hour

// decide ends the sessions and lock-delays that are due, and returns the time until the
// next may be.
func (t *term) decide(ctx context.Context) (time.Duration, error) {
	next, err := t.endDelays(ctx)
	if err != nil {
		return 0, err
	}
	snapshot := t.d.sessions.kv.Snapshot()
	sessions, _ := sessionsIn(snapshot) // a damaged session must not keep the others from their end
	var failed error
	for _, s := range sessions {
		why, reason := t.ended(snapshot, s)
		if why == lives {
			continue
		}
		if why == waiting {
			next = min(next, retryEvery)
			continue
		}
		was, err := t.end(ctx, s)
		if kind := skerry.KindOf(err); err != nil && !errors.Is(err, errReplaced) && kind != skerry.Unavailable {
			failed = err // it holds too many keys for one change, or a damaged one: the others still end
			continue
		}
		if err != nil {
			return 0, err
		}
		if was == nil {
			continue // it was destroyed meanwhile
		}
		t.d.sessions.note(s, why, reason)
	}
	return next, failed
}

// end ends a session and returns it as it was, or nil when it had ended already.
func (t *term) end(ctx context.Context, s *skerry.Session) (was *skerry.Session, err error) {
	err = t.update(ctx, func(tx skerry.Tx) error {
		// The sign of life is read so that the change runs again if it changes
		// meanwhile.
		if s.TTL > 0 {
			tx.Get(record.Alive + s.ID)
		}
		var err error
		was, err = end(tx, s.ID)
		return err
	})
	if err == nil && s.Lease != 0 {
		t.d.sessions.kv.Revoke(ctx, s.Lease)
	}
	return was, err
}

// ending is why a session has to end.
type ending int

const (
	lives       ending = iota // it does not end
	waiting                   // it does not end yet: its node or check may still be announced
	byTTL                     // it was not renewed
	byNode                    // its node is gone
	byCheck                   // one of its checks is critical or gone
	byDestroyer               // it was destroyed
	endings                   // the number of endings
)

// ended returns whether and why a session has to end, also in words.
func (t *term) ended(snapshot skerry.Snapshot, s *skerry.Session) (ending, string) {
	if s.TTL > 0 && snapshot.Get(record.Alive+s.ID) == nil {
		return byTTL, "its TTL passed"
	}
	node := t.d.sessions.catalog.Node(s.Node)
	if node == nil {
		return t.gone(s.Node, byNode), "its node is gone"
	}
	t.d.seen[s.Node] = true
	for _, id := range boundChecks(s) {
		key := s.Node + "/" + id
		c := checkOf(node, id)
		if c == nil {
			return t.gone(key, byCheck), "its check " + id + " is gone"
		}
		t.d.seen[key] = true
		if c.Status == skerry.Critical {
			return byCheck, "its check " + id + " is critical"
		}
	}
	return lives, ""
}

// gone returns why, or waiting when the node or check may still be announced. key is that
// of seen.
func (t *term) gone(key string, why ending) ending {
	if t.d.seen[key] || time.Since(t.d.began) >= knownAfter && time.Since(t.since) >= askedAfter {
		return why
	}
	return waiting
}

// delaysAtOnce bounds the keys in one change. An etcd takes 128 operations by default.
const delaysAtOnce = 100

// endDelays ends the lock-delays that have passed, and returns the time until the next one
// has.
func (t *term) endDelays(ctx context.Context) (time.Duration, error) {
	next, now := quietly, time.Now()
	var over []string
	for r := range t.d.sessions.kv.Snapshot().All(skerry.Below(record.Delays), "") {
		end, known := t.delays[r.Key]
		if !known {
			// It begins when this server sees it, by this server's clock: it ends late
			// rather than early.
			delay, err := time.ParseDuration(string(r.Value))
			if err != nil {
				delay = defaultLockDelay
			}
			end = now.Add(delay)
			t.delays[r.Key] = end
		}
		if left := end.Sub(now); left > 0 {
			next = min(next, left)
		} else {
			over = append(over, r.Key)
		}
	}
	for some := range slices.Chunk(over, delaysAtOnce) {
		err := t.update(ctx, func(tx skerry.Tx) error {
			for _, key := range some {
				tx.Delete(key)
			}
			return nil
		})
		if err != nil {
			return next, err
		}
		for _, key := range some {
			delete(t.delays, key)
		}
	}
	return next, nil
}
