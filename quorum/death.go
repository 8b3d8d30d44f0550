package quorum

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// ErrRemoved is the error of a member that the others removed from the cluster. Its data
// is of no more use: see [MoveAside].
var ErrRemoved = errors.New("this member was removed from the cluster")

// death is the end of a member that could not go on.
type death struct {
	once     sync.Once
	happened chan struct{}
	err      error
	ofSpace  bool // the disk was full
}

func newDeath() *death { return &death{happened: make(chan struct{})} }

// died is closed when the store's member could not go on.
func (s *Store) died() <-chan struct{} {
	if s.member == nil {
		return nil
	}
	return s.member.dead.happened
}

// of notes the reason and ends the calling goroutine, which is etcd's.
func (d *death) of(reason error) {
	d.note(reason)
	runtime.Goexit()
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
