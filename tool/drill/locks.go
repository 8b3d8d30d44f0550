package drill

import (
	"errors"
	"net/http"
	"time"
)

// errHeld is the answer that somebody else has the lock.
var errHeld = errors.New("the lock is held")

// holds takes the lock again and again, in a session of its own each time, and gives it back.
func (l *load) holds(a *member, s *series) {
	for l.pause(changeEvery) {
		err := a.during(func() error { return l.hold(a, s) })
		if l.ctx.Err() != nil {
			break
		}
		if err != nil && !errors.Is(err, errHeld) && !errors.Is(err, errAway) {
			s.note(time.Now(), err)
		}
	}
	l.tallies[locks].end(time.Now())
}

// hold makes a session, takes the lock, keeps it for a moment, and gives it back.
func (l *load) hold(a *member, s *series) error {
	var session struct{ ID string }
	began := time.Now()
	if _, err := a.ask(l.ctx, http.MethodPut, "/v1/session/create", map[string]any{"TTL": sessionTTL.String(), "LockDelay": "0s"}, &session); err != nil {
		return err
	}
	var taken bool
	if _, err := a.ask(l.ctx, http.MethodPut, "/v1/kv/drill/lock?acquire="+session.ID, a.name, &taken); err != nil {
		return err
	}
	if taken {
		s.note(time.Now(), nil)
		l.taken(a.name, began.Add(sessionTTL))
		l.pause(holds)
		l.released(a.name)
	}
	// The end of the session frees the lock. If it is not heard, the session ends by its TTL.
	if _, err := a.ask(l.ctx, http.MethodPut, "/v1/session/destroy/"+session.ID, nil, nil); err != nil {
		return err
	}
	if !taken {
		return errHeld
	}
	return nil
}

// taken notes a holder, and that it is sure of the lock until its session may end.
func (l *load) taken(name string, until time.Time) {
	l.mu.Lock()
	other := l.holder
	if time.Now().After(l.until) {
		other = ""
	}
	l.holder, l.until = name, until
	l.mu.Unlock()
	if other != "" {
		l.fault("a lock was held twice at once, by programs at %s and %s", other, name)
	}
}

func (l *load) released(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder == name {
		l.holder = ""
	}
}
