package lock

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

// session is ours at the servers. It is renewed here and not by the library, to know when
// it can have ended without an answer: a holder that is cut off from all servers must not
// go on for longer than they wait.
type session struct {
	id     string
	client *api.Client
	log    *slog.Logger
	gone   chan struct{} // closed when the session is, or may be, at its end
	stop   context.CancelFunc
	done   chan struct{}
}

func newSession(ctx context.Context, c *api.Client, o Options) (*session, error) {
	entry := &api.SessionEntry{Name: o.Name, TTL: sessionTTL.String(), Behavior: api.SessionBehaviorRelease}
	if o.Limit > 1 {
		entry.Behavior = api.SessionBehaviorDelete // as the library has it: slots leave no keys behind
	}
	id, _, err := c.Session().Create(entry, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	s := &session{id: id, client: c, log: o.Log, gone: make(chan struct{}), done: make(chan struct{})}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() {
		defer close(s.done)
		keep(keeping, time.Now(), s.renew, s.gone, s.log)
	}()
	return s, nil
}

// errGone means that the servers do not know the session any more.
var errGone = errors.New("the session has ended")

func (s *session) renew(ctx context.Context) error {
	entry, _, err := s.client.Session().Renew(s.id, (&api.WriteOptions{}).WithContext(ctx))
	var status api.StatusError
	if err == nil && entry == nil || errors.As(err, &status) && status.Code == http.StatusNotFound {
		return errGone
	}
	return err
}

// keep renews a session until ctx ends, and closes gone when it has ended or
// when the last renewal is a TTL ago. last is when the session began.
func keep(ctx context.Context, last time.Time, renew func(context.Context) error, gone chan<- struct{}, log *slog.Logger) {
	const every = sessionTTL / 5
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		try, cancel := context.WithTimeout(ctx, every)
		err := renew(try)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = asked // the servers do not count from an earlier moment
			continue
		case !errors.Is(err, errGone) && time.Since(last) < sessionTTL-every:
			log.Warn("session not renewed; trying on", "error", err)
			continue
		}
		log.Error("session lost", "error", err)
		close(gone)
		return
	}
}

// end stops the renewals and destroys the session, with its locks.
func (s *session) end(ctx context.Context) {
	s.stop()
	<-s.done
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if _, err := s.client.Session().Destroy(s.id, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		s.log.Warn("session not destroyed; it ends by itself", "error", err)
	}
}
