package quorum

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
)

// Where there are several members, each transaction of a server moves a key of its own,
// its slot, and is conditional on where the slot was. So a transaction that is sent
// again is evaluated once, however late the first one comes, and the slot shows whether
// it was.

const (
	slotPrefix = "commits/"
	// maxSlots is how many transactions of a server are under way at once, at most.
	maxSlots = 64
)

// slot is a key for one transaction at a time.
type slot struct {
	key      string
	revision int64 // its last change; 0: there is no key
	known    bool  // revision is right, unless an earlier process's transaction comes late
}

// slots are those that no transaction has.
type slots struct {
	prefix string
	life   string // names this process's transactions
	count  atomic.Int64
	limit  chan struct{}

	mu   sync.Mutex
	made int
	free []*slot
}

func newSlots(prefix string) *slots {
	return &slots{prefix: prefix, life: uuid.NewString(), limit: make(chan struct{}, maxSlots)}
}

// take returns a slot. The one that was used last is the first to be used again, so that
// there are as few keys as there were transactions at once.
func (s *slots) take(ctx context.Context) (*slot, error) {
	select {
	case s.limit <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.free) - 1; last >= 0 {
		one := s.free[last]
		s.free = s.free[:last]
		return one, nil
	}
	s.made++
	return &slot{key: fmt.Sprintf("%s%d", s.prefix, s.made)}, nil
}

func (s *slots) give(one *slot) {
	s.mu.Lock()
	s.free = append(s.free, one)
	s.mu.Unlock()
	<-s.limit
}

// token returns a name for a transaction: the value of its slot once it was evaluated.
func (s *slots) token() string { return fmt.Sprintf("%s-%d", s.life, s.count.Add(1)) }

// look reads a slot from the majority. ours reports whether the transaction of that token
// moved it last.
func (s *Store) look(ctx context.Context, one *slot, token string) (ours bool, err error) {
	r, err := s.get(ctx, one.key)
	if err != nil {
		return false, err
	}
	one.revision, one.known = 0, true
	if len(r.Kvs) == 0 {
		return false, nil
	}
	one.revision = r.Kvs[0].ModRevision
	value, how := decodeRecord(one.key, r.Kvs[0].Value, 0)
	if how == damaged {
		return false, skerry.Damaged(one.key, s.file())
	}
	return string(value) == token, nil
}
