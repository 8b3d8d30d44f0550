package quorum

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/files"
)

// A member that died because the disk was full is started again in this process once
// there is room: it acknowledged no change that it could not write. After a write or sync
// that failed for another reason, only a new process knows the disk's content.

const (
	// roomEvery is how often it is looked whether there is room again.
	roomEvery = time.Second
	// startRoom is the room that a member needs when it starts: two of its log files.
	startRoom = 128 << 20
	// parting is how long a dead member is given to close its files.
	parting = 2 * time.Second
)

// noRoom reports whether an error means that the disk is full.
func noRoom(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error()))
}

// awaitRoom returns true when a member that died of a full disk may be started again,
// and false when it may not, or when ctx ends.
func (s *Store) awaitRoom(ctx context.Context, log *slog.Logger) bool {
	m := s.member
	if !m.dead.ofSpace {
		return false
	}
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		if _, free, ok := files.Space(m.dir); ok && free >= max(m.spare, startRoom) {
			log.Info("there is room for the quorum store again; it restarts", "free", free)
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// abandon leaves a dead member behind, without a hold on its files. Its goroutines may be
// stuck for ever; their writes go nowhere.
func (s *Store) abandon() {
	s.cancel()
	s.member.closing.Store(true)
	s.member.leads.close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.client.Close()
		s.member.etcd.Close()
		s.member.mixed.close()
	}()
	timer := time.NewTimer(parting)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	}
	s.member.unlisten()
	if err := release(s.member.dir); err != nil {
		s.log.Warn("the files of the store that stopped are not let go", "error", err)
	}
}
