package zookeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skerryhq/skerry/client"
)

// Watch implements [client.Source]: an inventory with watches set on it, then the
// changes. When the session is lost, another is opened, with an inventory of its own: one
// that has seen more than a server has would be refused for ever.
func (s *Source) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		f := &follower{s: s, service: service, dir: s.layout.dir(s.root, service), yield: yield}
		var pause client.Backoff
		for ctx.Err() == nil {
			told, err := f.follow(ctx)
			if f.enough || ctx.Err() != nil {
				return
			}
			if told {
				pause.Reset()
			}
			if !yield(client.Update{}, fmt.Errorf("client/zookeeper: %s: %w", f.dir, err)) {
				return
			}
			pause.Wait(ctx)
		}
	}
}

// follower follows one service for one Watch.
type follower struct {
	s            *Source
	service, dir string
	yield        func(client.Update, error) bool
	enough       bool // it does not want more

	instances map[string]client.Instance // by the child's name
	read      map[string]bool            // whose data is watched in this session
	revision  int64
}

var errEnough = errors.New("client/zookeeper: the caller has enough")

// follow follows the service for one session, and reports whether it had a list.
func (f *follower) follow(ctx context.Context) (told bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(answerWithin, cancel)
	defer late.Stop()
	c, err := f.s.connect(ctx, watchSession)
	if err != nil {
		return false, err
	}
	known := f.instances
	f.instances, f.read = map[string]client.Instance{}, map[string]bool{}
	if f.revision, err = f.zxid(c); err == nil {
		err = f.children(c, known)
	}
	if err != nil {
		f.instances = known
		return false, err
	}
	if !late.Stop() {
		return false, fmt.Errorf("no answer within %v", answerWithin)
	}
	if err := f.tell(); err != nil {
		return true, err
	}
	var alone <-chan time.Time // runs from the loss of the server, not from each attempt
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-alone:
			return true, errors.New("no server takes the session")
		case <-c.signal:
		}
		for _, e := range c.take() {
			switch {
			case e.Type == zk.EventNotWatching || e.State == zk.StateExpired:
				return true, zk.ErrSessionExpired
			case e.Type == zk.EventSession && e.State == zk.StateDisconnected:
				if alone == nil {
					alone = time.After(grace)
				}
			case e.Type == zk.EventSession && e.State == zk.StateHasSession:
				alone = nil
			case e.Type == zk.EventSession:
			default:
				if err := f.changed(c, e); err != nil {
					return true, err
				}
			}
		}
	}
}

// zxid is the newest change of the folder and of its parents: it falls when the ensemble
// has lost data, and does not when an empty folder is removed.
func (f *follower) zxid(c *session) (newest int64, err error) {
	for dir := f.dir; ; dir = path.Dir(dir) {
		_, stat, err := c.Exists(dir)
		if err != nil {
			return 0, err
		}
		if newest = max(newest, stat.Pzxid); dir == "/" {
			return newest, nil
		}
	}
}

// changed takes in an event of a watch.
func (f *follower) changed(c *session, e zk.Event) error {
	switch {
	case e.Path == f.dir:
		known := f.instances
		f.instances = make(map[string]client.Instance, len(known))
		if err := f.children(c, known); err != nil {
			f.instances = known
			return err
		}
	case e.Type == zk.EventNodeDataChanged && path.Dir(e.Path) == f.dir:
		if err := f.child(c, path.Base(e.Path), f.instances); err != nil {
			return err
		}
	default:
		// A child's end comes as its folder's change too. One that comes back by the same
		// name is another.
		delete(f.read, path.Base(e.Path))
		return nil
	}
	return f.tell()
}

// children reads the folder, with a watch, and those children that are not known.
func (f *follower) children(c *session, known map[string]client.Instance) error {
	names, stat, _, err := c.ChildrenW(f.dir)
	for errors.Is(err, zk.ErrNoNode) {
		exists, _, _, err2 := c.ExistsW(f.dir)
		if err2 != nil || !exists {
			return err2
		}
		names, stat, _, err = c.ChildrenW(f.dir)
	}
	if err != nil {
		return err
	}
	f.revision = max(f.revision, stat.Pzxid)
	for _, name := range names {
		if f.read[name] {
			if i, ok := known[name]; ok { // else it cannot be read as one
				f.instances[name] = i
			}
		} else if err := f.child(c, name, known); err != nil {
			return err
		}
	}
	return nil
}

// child reads one child, with a watch. Where it cannot be read as an instance, the last
// one stays.
func (f *follower) child(c *session, name string, known map[string]client.Instance) error {
	var data []byte
	if f.s.layout.data() {
		var err error
		if data, _, _, err = c.GetW(path.Join(f.dir, name)); errors.Is(err, zk.ErrNoNode) {
			return nil // gone meanwhile, which the folder's watch reports
		} else if err != nil {
			return err
		}
	}
	f.read[name] = true
	i, err := f.s.layout.instance(name, data)
	if err != nil {
		was, ok := known[name]
		slog.Warn("a node of the service in ZooKeeper cannot be read as an instance", "node", path.Join(f.dir, name), "kept as it was", ok, "error", err)
		if i = was; !ok {
			return nil
		}
	}
	i.Service = f.service
	f.instances[name] = i
	return nil
}

// tell yields the list as it is.
func (f *follower) tell() error {
	u := client.Update{
		Instances: slices.SortedFunc(maps.Values(f.instances), func(a, b client.Instance) int { return cmp.Compare(a.ID, b.ID) }),
		Revision:  uint64(f.revision),
	}
	if f.enough = !f.yield(u, nil); f.enough {
		return errEnough
	}
	return nil
}
