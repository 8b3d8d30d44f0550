package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skerryhq/skerry/client"
)

// announcement keeps an instance's node in a session whose timeout is the time to live.
type announcement struct {
	s      *Source
	node   string
	data   []byte
	ttl    time.Duration
	report func(error)
	cancel context.CancelFunc
	done   sync.WaitGroup

	session *session // of run, then of Withdraw; nil while there is none
	end     context.CancelFunc
}

// Announce implements [client.Registry].
func (s *Source) Announce(i client.Instance, ttl time.Duration, report func(error)) client.Announcement {
	ctx, cancel := context.WithCancel(context.Background())
	child, data := s.layout.node(i)
	a := &announcement{s: s, node: path.Join(s.layout.dir(s.root, i.Service), child), data: data, ttl: ttl, report: report, cancel: cancel}
	a.done.Go(func() { a.run(ctx) })
	return a
}

// run registers, and looks whether that still holds, until ctx ends.
func (a *announcement) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.keep(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := a.ttl / 3
		if err != nil {
			err = fmt.Errorf("client/zookeeper: register %s: %w", a.node, err)
			pause = min(pause, time.Second)
			a.drop()
		}
		a.report(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// drop leaves the session, whose nodes go with it. The next attempt has another: a
// session that has seen more than its servers is never taken again.
func (a *announcement) drop() {
	if a.session != nil {
		a.end()
		a.session = nil
	}
}

// keep makes sure that the node is there, and of this session.
func (a *announcement) keep(ctx context.Context) error {
	if a.session == nil {
		// The session outlives ctx, so that Withdraw has it.
		life, end := context.WithCancel(context.WithoutCancel(ctx))
		late := time.AfterFunc(a.ttl, end)
		c, err := a.s.connect(life, a.ttl)
		if !late.Stop() && err == nil {
			err = errLate
		}
		if err != nil {
			end()
			return err
		}
		a.session, a.end = c, end
	}
	// Ends the session if there is no answer, and with it the wait.
	defer time.AfterFunc(a.ttl, a.end).Stop()
	data, stat, err := a.session.Get(a.node)
	switch {
	case errors.Is(err, zk.ErrNoNode):
	case err != nil:
		return err
	case stat.EphemeralOwner == a.session.SessionID() && bytes.Equal(data, a.data):
		return nil
	default: // of a session before, which has not expired yet
		if err := a.session.Delete(a.node, stat.Version); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
	if err := a.parents(path.Dir(a.node)); err != nil {
		return err
	}
	_, err = a.session.Create(a.node, a.data, zk.FlagEphemeral, a.acl())
	return err
}

var errLate = errors.New("no answer within the time to live")

// acl lets everybody read, and authenticated users do everything.
func (a *announcement) acl() []zk.ACL {
	if a.s.digest == "" {
		return zk.WorldACL(zk.PermAll)
	}
	return append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...)
}

// parents makes the folders. Everybody may add to them: services share them.
func (a *announcement) parents(dir string) error {
	if dir == "/" {
		return nil
	}
	if exists, _, err := a.session.Exists(dir); err != nil || exists {
		return err
	}
	if err := a.parents(path.Dir(dir)); err != nil {
		return err
	}
	_, err := a.session.Create(dir, nil, 0, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}

// Withdraw implements [client.Announcement]. ZooKeeper cannot say when all callers
// know.
func (a *announcement) Withdraw(ctx context.Context, _ time.Duration) (client.Withdrawal, error) {
	a.cancel()
	a.done.Wait()
	if a.session == nil {
		return client.Withdrawal{}, nil
	}
	defer a.drop()
	defer context.AfterFunc(ctx, a.end)()
	if err := a.session.Delete(a.node, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
		return client.Withdrawal{}, fmt.Errorf("client/zookeeper: withdraw %s: %w", a.node, err)
	}
	return client.Withdrawal{}, nil
}
