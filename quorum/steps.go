package quorum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/quorum/replica"
)

// A commit that is too large for one transaction of etcd is made in steps. The pointer
// records that while it lasts: no other writer writes then, and followers keep the steps
// back and show them all at once with the last. Before anything is changed, all of it is
// staged beside the generation and then decided, so that a process that ends in the
// middle is completed, or undone, by the next that opens the store.

const (
	stagePrefix = "steps/"
	// stepsWithin bounds a commit in steps: it must not end half-way for a caller's haste.
	stepsWithin = 5 * time.Minute
	// stepShare is the part of the operations of a transaction that a member of our own
	// takes in one step; others take as many as in a restore, chunkOps.
	stepShare = 4
	// takeOverAfter is how long the steps of another may stand still before they are
	// completed, or undone: its process may have ended. A slow disk takes seconds for one.
	takeOverAfter = 10 * time.Second
	// thawEvery is how often a writer that waits for the end of the steps looks.
	thawEvery = 5 * time.Millisecond
)

// step is a part of a commit as it is staged.
type step struct {
	Puts    []replica.Put `json:",omitempty"`
	Deletes []string      `json:",omitempty"`
	Cleared []string      `json:",omitempty"`
}

// tooLarge reports whether etcd refused a transaction for its size.
func tooLarge(err error) bool {
	if err == nil {
		return false
	}
	for _, e := range []error{rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge} {
		if errors.Is(err, e) || sameStatus(unwrapped(err), e) {
			return true
		}
	}
	// The client's own limit of a message.
	return status.Code(unwrapped(err)) == codes.ResourceExhausted && skerry.KindOf(err) != skerry.Exhausted
}

func unwrapped(err error) error {
	var own *skerry.Error
	if errors.As(err, &own) && own.Err != nil {
		return own.Err
	}
	return err
}

// divisible reports whether a commit can be made in steps. Keys that are bound to a
// lease cannot: it may end meanwhile.
func divisible(c *replica.Commit) bool {
	for _, p := range c.Puts {
		if p.Lease != 0 || len(p.Key)+len(p.Value) > chunkBytes {
			return false
		}
	}
	return len(c.Puts)+len(c.Deletes)+len(c.Cleared) > 1
}

// roomFor reports whether a commit may be staged and made: where the room ends in the
// middle, nothing could be deleted to make some.
func (s *Store) roomFor(c *replica.Commit) error {
	if s.member == nil {
		return nil // the size of another's etcd is not known
	}
	size := int64(0)
	for _, p := range c.Puts {
		size += int64(len(p.Key) + len(p.Value))
	}
	size = size*3 + int64(len(c.Deletes))*256 // staged in base64, and made
	_, used := s.member.sizes()
	if used+size > s.member.quota() {
		return wrap(rpctypes.ErrNoSpace)
	}
	if _, free, ok := files.Space(s.member.dir); ok && free-2*size < s.member.spare {
		return wrap(&lowDisk{free: free, need: s.member.spare + 2*size, dir: s.member.dir})
	}
	return nil
}

// thawed returns when no commit in steps is under way.
func (s *Store) thawed(ctx context.Context) error {
	for s.generation.Load().Steps != "" {
		if err := s.takeOver(ctx); err != nil {
			return wrap(err)
		}
		select {
		case <-ctx.Done():
			return wrap(ctx.Err())
		case <-s.died():
			return wrap(s.member.dead.reason())
		case <-time.After(thawEvery):
		}
	}
	return nil
}

// wentOn notes that steps went on. Other news of etcd's, as the answers that readers ask for,
// do not count: a process that has ended would seem alive.
func (s *Store) wentOn() { s.moved.Store(int64(time.Since(s.born))) }

// takeOver ends steps that stand still.
func (s *Store) takeOver(ctx context.Context) error {
	if time.Since(s.born)-time.Duration(s.moved.Load()) < takeOverAfter || !s.taking.TryLock() {
		return nil
	}
	defer s.taking.Unlock()
	s.log.Warn("a large change of another process stands still; it is completed, or undone", "steps", s.generation.Load().Steps)
	err := s.settle(ctx)
	s.wentOn()
	return err
}

// inSteps makes a large commit.
func (s *Store) inSteps(ctx context.Context, c *replica.Commit) outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepsWithin)
	defer cancel()
	s.stepping.Lock()
	defer s.stepping.Unlock()
	if err := s.roomFor(c); err != nil {
		return outcome{err: err}
	}
	if err := s.thawed(ctx); err != nil {
		return outcome{err: err}
	}
	g, o := s.freeze(ctx)
	if g == nil {
		return o
	}
	if !s.unchanged(c) {
		return s.ended(ctx, g, s.thaw, true)
	}
	err := s.stage(ctx, g, c)
	if err == nil {
		g, err = s.decide(ctx, g)
	}
	if err != nil {
		_, undone := s.thaw(ctx, g)
		return outcome{err: errors.Join(err, s.settled(undone))}
	}
	return s.ended(ctx, g, s.finish, false)
}

// ended ends the steps and returns when the table shows it.
func (s *Store) ended(ctx context.Context, g *generation, end func(context.Context, *generation) (int64, error), conflict bool) outcome {
	revision, err := end(ctx, g)
	if err == nil {
		err = s.reach(ctx, revision)
	}
	if err != nil {
		return outcome{err: s.settled(err)}
	}
	return outcome{index: g.index(revision), conflict: conflict}
}

// settled returns err; when there is one, the steps are completed or undone later.
func (s *Store) settled(err error) error {
	if err == nil {
		return nil
	}
	go func() {
		for s.settle(s.life) != nil {
			select {
			case <-s.life.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
	return wrap(err)
}

// move changes the pointer from one state of the steps to the next, if it is still
// there, and returns the generation as it is then: nil when another came first.
func (s *Store) move(ctx context.Context, from *generation, next generation, with ...clientv3.Op) (*generation, int64, error) {
	a, err := s.propose(ctx, &proposal{[]clientv3.Cmp{s.counts(from)}, append(with, s.pointTo(&next))})
	if err != nil {
		return nil, 0, err
	}
	if !a.made {
		return nil, a.revision, nil
	}
	next.pointer = a.revision
	return &next, a.revision, nil
}

// freeze keeps all others from writing and returns when the table has all that they wrote.
func (s *Store) freeze(ctx context.Context) (*generation, outcome) {
	was := s.generation.Load()
	next := *was
	next.Steps = uuid.NewString()[:8]
	g, revision, err := s.move(ctx, was, next)
	if err != nil {
		return nil, outcome{err: s.settled(err)}
	}
	if err := s.reach(ctx, revision); err != nil {
		return nil, outcome{err: s.settled(err)}
	}
	if g == nil {
		return nil, outcome{index: was.index(revision), conflict: true}
	}
	return g, outcome{}
}

// unchanged reports whether all is as a commit read it. No other writer writes now.
func (s *Store) unchanged(c *replica.Commit) bool {
	now := s.Snapshot()
	for _, r := range c.Reads {
		var modified uint64
		if one := now.Get(r.Key); one != nil {
			modified = one.Modified
		}
		if modified != r.Modified {
			return false
		}
	}
	for _, p := range c.Ranges {
		for one := range now.All(skerry.Below(p), "") {
			if one.Modified > c.At {
				return false
			}
		}
	}
	return true
}

// split divides a commit into steps.
func (s *Store) split(c *replica.Commit) []step {
	most := chunkOps
	if s.member != nil {
		most = int(s.member.ops / stepShare)
	}
	var out []step
	ops, size := most, 0
	next := func(bytes int) *step {
		if ops++; ops > most || size+bytes > chunkBytes {
			out = append(out, step{})
			ops, size = 1, 0
		}
		size += bytes
		return &out[len(out)-1]
	}
	for _, p := range c.Cleared {
		n := next(len(p))
		n.Cleared = append(n.Cleared, p)
	}
	for _, k := range c.Deletes {
		n := next(len(k))
		n.Deletes = append(n.Deletes, k)
	}
	for _, p := range c.Puts {
		n := next(len(p.Key) + len(p.Value))
		n.Puts = append(n.Puts, p)
	}
	return out
}

func (s *Store) stageKey(g *generation, n int) string {
	return fmt.Sprintf("%s%s%s/%08d", s.prefix, stagePrefix, g.Steps, n)
}

// stage writes the steps to make.
func (s *Store) stage(ctx context.Context, g *generation, c *replica.Commit) error {
	for n, one := range s.split(c) {
		value, err := json.Marshal(one)
		if err != nil {
			return err
		}
		key := s.stageKey(g, n)
		put := clientv3.OpPut(key, encodeRecord(key, value, 0))
		a, err := s.propose(ctx, &proposal{[]clientv3.Cmp{s.counts(g)}, []clientv3.Op{put}})
		if err != nil {
			return err
		}
		if !a.made {
			return errTakenOver
		}
	}
	return nil
}

var errTakenOver = errors.New("another took over the steps of a large change")

// decide makes the staged steps final.
func (s *Store) decide(ctx context.Context, g *generation) (*generation, error) {
	next := *g
	next.Decided = true
	now, _, err := s.move(ctx, g, next)
	if err == nil && now == nil {
		err = errTakenOver
	}
	if err != nil {
		return g, err
	}
	return now, nil
}

// finish makes the decided steps, and lets the others write again.
func (s *Store) finish(ctx context.Context, g *generation) (int64, error) {
	for n := 0; ; n++ {
		key := s.stageKey(g, n)
		r, err := s.get(ctx, key)
		if err != nil {
			return 0, err
		}
		if len(r.Kvs) == 0 {
			break
		}
		value, how := decodeRecord(key, r.Kvs[0].Value, 0)
		if how == damaged {
			return 0, skerry.Damaged(key, s.file())
		}
		var one step
		if err := json.Unmarshal(value, &one); err != nil {
			return 0, err
		}
		c := &replica.Commit{Puts: one.Puts, Deletes: one.Deletes, Cleared: one.Cleared}
		a, err := s.propose(ctx, &proposal{[]clientv3.Cmp{s.counts(g)}, ops(g, c)})
		if err != nil {
			return 0, err
		}
		if !a.made {
			return 0, errTakenOver
		}
	}
	return s.thaw(ctx, g)
}

// thaw ends the steps and returns the revision at which they ended.
func (s *Store) thaw(ctx context.Context, g *generation) (int64, error) {
	next := *g
	next.Steps, next.Decided = "", false
	now, revision, err := s.move(ctx, g, next, clientv3.OpDelete(s.prefix+stagePrefix, clientv3.WithPrefix()))
	if err != nil {
		return 0, err
	}
	if now == nil {
		return 0, errTakenOver
	}
	return revision, nil
}

// settle completes the steps that another left behind when they were decided, and
// undoes them when not.
func (s *Store) settle(ctx context.Context) error {
	g, _, err := s.pointed(ctx)
	if err != nil || g == nil || g.Steps == "" {
		return err
	}
	if g.Decided {
		_, err = s.finish(ctx, g)
	} else {
		_, err = s.thaw(ctx, g)
	}
	if errors.Is(err, errTakenOver) {
		return nil
	}
	return err
}
