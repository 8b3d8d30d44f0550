package quorum

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// ErrDamaged is the error of a member whose data cannot be read any more. Where the others have a majority, it joins anew with an
// empty folder: see [MoveAside].
var ErrDamaged = errors.New("the member's data is damaged")

// damages are the errors of etcd and its parts that mean it.
var damages = []error{wal.ErrCRCMismatch, wal.ErrSnapshotMismatch, wal.ErrSnapshotNotFound, wal.ErrFileNotFound, snap.ErrCRCMismatch, bolt.ErrInvalid, bolt.ErrVersionMismatch, bolt.ErrChecksum}

// asDamaged marks an error that means damaged data.
func asDamaged(err error) error {
	if errors.Is(err, ErrDamaged) || !slices.ContainsFunc(damages, func(d error) bool { return errors.Is(err, d) }) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// ErrRemoved is the error of a member that the others removed from the cluster. Its data
// is of no more use: see [MoveAside].
var ErrRemoved = errors.New("this member was removed from the cluster")

// death is the end of a member that could not go on.
type death struct {
	once     sync.Once
	happened chan struct{}
	over     chan struct{} // closed when etcd applies nothing more
	err      error
	ofSpace  bool // the disk was full
}

func newDeath() *death { return &death{happened: make(chan struct{}), over: make(chan struct{})} }

// died is closed when the store's member could not go on.
func (s *Store) died() <-chan struct{} {
	if s.member == nil {
		return nil
	}
	return s.member.dead.happened
}

// of notes the reason and ends the calling goroutine, which is etcd's. One that applies changes
// stays until etcd hands out no more of them: etcd panics when it finds its queue closed.
func (d *death) of(reason error) {
	d.note(reason)
	if applies() {
		<-d.over
	}
	runtime.Goexit()
}

// applies reports whether the calling goroutine is that of etcd's queue of changes.
func applies() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, "/schedule.(*fifo).run") {
			return true
		}
		if !more {
			return false
		}
	}
}

// note notes the reason, if it is the first.
func (d *death) note(reason error) {
	d.once.Do(func() {
		switch d.ofSpace = noRoom(reason); {
		case d.ofSpace:
			d.err = fmt.Errorf("the store stopped: %w; make room on the disk: it is started again by itself when %d MiB are free", reason, startRoom>>20)
		case errors.Is(reason, ErrRemoved):
			d.err = fmt.Errorf("the store stopped: %w; move its data aside and join the cluster anew", reason)
		default:
			d.err = fmt.Errorf("the store stopped: %w; mend the cause and restart this server", reason)
		}
		close(d.happened)
	})
}

func (d *death) reason() error {
	select {
	case <-d.happened:
		return d.err
	default:
		return nil
	}
}
