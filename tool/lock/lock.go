// Package lock runs a program while a lock, or one of several slots, is held at
// an address that speaks Consul's API, and ends it when the lock is lost. Keys
// and flags are those of Consul's client, so that it and "consul lock" contend
// with us for the same lock.
package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/tool/child"
)

// Options configures a lock and the program that runs while it is held. Prefix and
// Child.Command are required.
type Options struct {
	Prefix string
	// Limit is how many may hold it at once; default 1, a lock. All contenders
	// must name the same one.
	Limit int
	Name  string        // of the session, for people
	Try   time.Duration // how long to wait for the lock; 0: for ever
	// MonitorRetries is how many answers in a row may fail before a held lock
	// counts as lost.
	MonitorRetries int
	Child          child.Spec
	// Signals are passed on to the program, as [child.Process.Pass] does; one that comes
	// before it runs ends the wait.
	Signals <-chan os.Signal
	Log     *slog.Logger // default: discard
}

// The ends that are not the program's.
var (
	ErrNotHeld = errors.New("the lock was not free in time")
	ErrLost    = errors.New("the lock was lost, and the program was ended")
)

const (
	// sessionTTL is the TTL of our session. The servers give the lock to another after
	// twice as long a silence; we count it as lost within once. No less than 10 s is allowed.
	sessionTTL = 15 * time.Second
	// killAfter is how long a program may take to end whose lock was lost.
	killAfter = 5 * time.Second
	// farewell bounds how long servers that do not answer delay the end.
	farewell = 5 * time.Second
)

// Run waits for the lock, runs the program and returns its exit code. The lock is
// held until none of the processes lives that the program started, and free again when Run
// returns, or, if no server answers then, after the session's
// TTL. Errors are ErrNotHeld, ErrLost, that of a server, or that the program could
// not be started. The end of ctx ends the
// wait, and the program like SIGTERM.
func Run(ctx context.Context, c *api.Client, o Options) (int, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Limit == 0 {
		o.Limit = 1
	}
	s, err := newSession(ctx, c, o)
	if err != nil {
		return 0, fmt.Errorf("making a session: %w", err)
	}
	defer s.end(context.WithoutCancel(ctx))
	h, err := holderOf(c, o, s.id)
	if err != nil {
		return 0, err
	}
	o.Log.Info("waiting for the lock", "prefix", o.Prefix, "session", s.id)
	lost, err := await(ctx, o, s, h)
	if err != nil {
		return 0, err
	}
	defer release(h, o.Log)
	o.Log.Info("lock held")
	return runChild(ctx, o, lost, s.gone)
}

// holder is a lock or a semaphore of the client's library.
type holder struct {
	take    func(stop <-chan struct{}) (lost <-chan struct{}, err error)
	give    func() error
	destroy func() error
	inUse   []error // of destroy, when others wait for the lock
}

func holderOf(c *api.Client, o Options, session string) (*holder, error) {
	if o.Limit == 1 {
		l, err := c.LockOpts(&api.LockOptions{
			Key: path.Join(o.Prefix, api.DefaultSemaphoreKey), Session: session, MonitorRetries: o.MonitorRetries,
		})
		if err != nil {
			return nil, err
		}
		return &holder{l.Lock, l.Unlock, l.Destroy, []error{api.ErrLockInUse}}, nil
	}
	s, err := c.SemaphoreOpts(&api.SemaphoreOptions{
		Prefix: o.Prefix, Limit: o.Limit, Session: session, MonitorRetries: o.MonitorRetries,
	})
	if err != nil {
		return nil, err
	}
	return &holder{s.Acquire, s.Release, s.Destroy, []error{api.ErrSemaphoreInUse}}, nil
}

// await returns when the lock is held. The channel is closed when it is lost.
func await(ctx context.Context, o Options, s *session, h *holder) (<-chan struct{}, error) {
	type taken struct {
		lost <-chan struct{}
		err  error
	}
	stop, got := make(chan struct{}), make(chan taken, 1)
	// When the wait ends early, the end of the session undoes the pending steps.
	defer close(stop)
	go func() {
		lost, err := h.take(stop)
		got <- taken{lost, err}
	}()
	var late <-chan time.Time
	if o.Try > 0 {
		t := time.NewTimer(o.Try)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case t := <-got:
			if t.err == nil && t.lost == nil {
				return nil, ErrNotHeld
			}
			return t.lost, t.err
		case <-late:
			return nil, ErrNotHeld
		case <-s.gone:
			return nil, errors.New("the session ended while waiting for the lock")
		case sig := <-o.Signals:
			if ends(sig) {
				return nil, fmt.Errorf("%v while waiting for the lock", sig)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func ends(sig os.Signal) bool {
	return sig == os.Interrupt || sig == syscall.SIGTERM || sig == syscall.SIGQUIT || sig == syscall.SIGHUP
}

// runChild runs the program until it ends or one of the channels is closed.
func runChild(ctx context.Context, o Options, lost, gone <-chan struct{}) (int, error) {
	spec := o.Child
	if spec.Env == nil {
		spec.Env = os.Environ()
	}
	spec.Log = o.Log
	spec.Env = append(slices.Clone(spec.Env), "SKERRY_LOCK_HELD=true", "CONSUL_LOCK_HELD=true")
	p, err := child.Start(spec)
	if err != nil {
		return 0, err
	}
	for {
		select {
		case <-p.Done():
			return p.Wait()
		case <-lost:
			o.Log.Error("the lock was lost; ending the program")
			code, err := p.Stop(syscall.SIGTERM, killAfter)
			return code, errors.Join(ErrLost, err)
		case <-gone:
			o.Log.Error("the session was lost, and the lock with it; ending the program")
			code, err := p.Stop(syscall.SIGTERM, killAfter)
			return code, errors.Join(ErrLost, err)
		case <-ctx.Done():
			return p.Stop(syscall.SIGTERM, cmp.Or(spec.KillAfter, child.KillAfter))
		case sig := <-o.Signals:
			if err := p.Pass(sig); err != nil {
				o.Log.Warn("signal not passed on", "signal", sig, "error", err)
			}
		}
	}
}

// release frees the lock and deletes its key when there is no other contender. The
// library's calls cannot be cut short: they are waited for no longer than farewell.
func release(h *holder, log *slog.Logger) {
	done := make(chan error, 1)
	go func() {
		if err := h.give(); err != nil {
			done <- err
			return
		}
		err := h.destroy()
		if slices.ContainsFunc(h.inUse, func(e error) bool { return errors.Is(err, e) }) {
			err = nil
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			log.Warn("lock not released; it ends with its session", "error", err)
		}
	case <-time.After(farewell):
		log.Warn("lock not released; it ends with its session", "error", "no server answers")
	}
}
