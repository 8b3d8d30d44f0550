package consul

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// sessionBody is the body of session/create. Checks is the old name of NodeChecks.
type sessionBody struct {
	ID            string
	Name          string
	Node          string
	Checks        *[]string
	NodeChecks    *[]string
	ServiceChecks []sessionService
	LockDelay     lockDelay
	Behavior      skerry.SessionBehavior
	TTL           string
}

type sessionService struct {
	ID        string
	Namespace string
}

// lockDelay is a duration as text or as a number: of seconds if it is small, else of
// nanoseconds.
type lockDelay struct {
	given bool
	d     time.Duration
}

// smallDelay is the least number that means nanoseconds.
const smallDelay = 1000

// UnmarshalJSON implements [json.Unmarshaler].
func (l *lockDelay) UnmarshalJSON(b []byte) error {
	l.given = string(b) != "null"
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		var err error
		l.d, err = time.ParseDuration(s)
		return err
	}
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	l.d = time.Duration(n)
	if n < smallDelay {
		l.d = time.Duration(n * float64(time.Second))
	}
	return nil
}

func (q *request) sessionCreate() error {
	var b sessionBody
	// The body is optional.
	d, err := q.jsonBody()
	if err == nil {
		err = d.Decode(&b) // here Consul lets unknown fields through
	}
	if err != nil && !errors.Is(err, io.EOF) && q.r.ContentLength != 0 {
		return wire.DecodeError(err)
	}
	s := skerry.Session{
		Name: b.Name, Node: cmp.Or(b.Node, q.agentNode()), LockDelay: b.LockDelay.d,
		Behavior: b.Behavior, TTLText: b.TTL, NodeChecks: []string{"serfHealth"},
	}
	if b.LockDelay.given && s.LockDelay == 0 {
		s.LockDelay = -1 // none, where 0 is the default
	}
	switch {
	case b.NodeChecks != nil:
		s.NodeChecks = *b.NodeChecks
	case b.Checks != nil:
		s.NodeChecks = *b.Checks
	}
	if s.NodeChecks == nil {
		s.NodeChecks = []string{}
	}
	for _, c := range b.ServiceChecks {
		s.ServiceChecks = append(s.ServiceChecks, skerry.ServiceCheck(c))
	}
	if err := q.must(skerry.ResourceSession, s.Node, skerry.AccessWrite); err != nil {
		return err
	}
	id, err := q.f.b.Sessions.CreateSession(q.r.Context(), s)
	if err != nil {
		return sessionError(err)
	}
	return q.json(struct{ ID string }{id})
}

// sessionError returns the answer to an error that Consul finds only when it applies the
// change.
func sessionError(err error) error {
	if skerry.KindOf(err) != skerry.Invalid {
		return err
	}
	var e *skerry.Error
	if errors.As(err, &e) && e.Subject == "session's check" {
		return serverError("apply failed: " + e.Message)
	}
	return serverError(err.Error())
}

// sessionNamed checks a request to change the session in the path.
func (q *request) sessionNamed() error {
	if q.rest == "" {
		return badRequest("Missing session")
	}
	return q.mustHold(q.rest)
}

func (q *request) sessionDestroy() error {
	if err := q.sessionNamed(); err != nil {
		return err
	}
	if q.hiddenSession(q.rest) {
		return q.json(true) // as for one that does not exist
	}
	if err := q.f.b.Sessions.DestroySession(q.r.Context(), q.rest); err != nil {
		return err
	}
	return q.json(true)
}

func (q *request) sessionRenew() error {
	if err := q.sessionNamed(); err != nil {
		return err
	}
	if q.hiddenSession(q.rest) {
		return notFoundError("Session id '" + q.rest + "' not found")
	}
	s, err := q.f.b.Sessions.RenewSession(q.r.Context(), q.rest)
	if err != nil {
		return err
	}
	return q.json([]sessionJSON{jsonSession(s)})
}

// mustHold requires write access to a session, if there is one.
func (q *request) mustHold(id string) error {
	if q.who == nil {
		return nil
	}
	s, err := q.f.b.Sessions.Session(id)
	if s == nil || err != nil || q.unseen(skerry.ResourceSession, s.Node) {
		return err
	}
	return q.must(skerry.ResourceSession, s.Node, skerry.AccessWrite)
}

func (q *request) sessionInfo() error {
	if q.rest == "" {
		return bare(badRequest("Missing session"))
	}
	if err := q.sessionReady(q.rest); err != nil {
		return err
	}
	index := q.sessionIndex(q.rest)
	s, err := q.f.b.Sessions.Session(q.rest)
	if err != nil {
		return err
	}
	if s != nil && !q.may(skerry.ResourceSession, s.Node, skerry.AccessRead) {
		q.leftOut()
		s = nil
	}
	out := []sessionJSON{}
	if s != nil {
		out = append(out, jsonSession(s))
	}
	q.meta(index)
	return q.json(out)
}

func (q *request) sessionNode() error {
	if q.rest == "" {
		return bare(badRequest("Missing node name"))
	}
	return q.sessionsOf(q.rest)
}

func (q *request) sessionList() error { return q.sessionsOf("") }

func (q *request) sessionsOf(node string) error {
	if err := q.sessionReady(""); err != nil {
		return err
	}
	index := q.sessionIndex("")
	all, err := q.f.b.Sessions.Sessions(node)
	if err != nil {
		return err
	}
	all = visible(q, all, func(s *skerry.Session) bool { return q.may(skerry.ResourceSession, s.Node, skerry.AccessRead) })
	out := make([]sessionJSON, len(all))
	for i, s := range all {
		out[i] = jsonSession(s)
	}
	q.meta(index)
	return q.json(out)
}

// sessionReady waits until the answer is due and may be given.
func (q *request) sessionReady(id string) error {
	if err := q.p.query(); err != nil {
		return bare(err)
	}
	if err := q.synced(); err != nil {
		return err
	}
	if sc := q.narrowedSessions(id); sc != nil {
		return q.blockOn(sc)
	}
	sessions := q.f.b.Sessions
	return q.beyond(func() (uint64, <-chan struct{}) { return sessions.WatchSession(id) })
}

// sessionIndex returns the index of a session, or of all if id is empty, for the caller.
func (q *request) sessionIndex(id string) uint64 {
	if sc := q.narrowedSessions(id); sc != nil {
		return q.indexOf(sc)
	}
	return q.f.b.Sessions.ChangedSession(id)
}

// narrowedSessions is narrowed for a session, or for all if id is empty.
func (q *request) narrowedSessions(id string) *scene {
	if !q.hides() || q.who.AllowsBelow(skerry.ResourceSession, "", skerry.AccessRead) {
		return nil
	}
	sessions := q.f.b.Sessions
	return &scene{
		name:  "session:" + id,
		at:    func() uint64 { return sessions.ChangedSession(id) },
		watch: func() (uint64, <-chan struct{}) { return sessions.WatchSession(id) },
		look: func(who skerry.Identity, s *sight) {
			all, _ := sessions.Sessions("") // the answer returns the error of a damaged one
			for _, one := range all {
				if (id == "" || id == one.ID) && who.Allows(skerry.ResourceSession, one.Node, skerry.AccessRead) {
					s.add(one.Modified, one.ID)
				}
			}
		},
	}
}

type sessionJSON struct {
	ID            string
	Name          string
	Node          string
	LockDelay     time.Duration
	Behavior      skerry.SessionBehavior
	TTL           string
	NodeChecks    []string
	ServiceChecks []sessionService
	CreateIndex   uint64
	ModifyIndex   uint64
}

func jsonSession(s *skerry.Session) sessionJSON {
	out := sessionJSON{
		ID: s.ID, Name: s.Name, Node: s.Node, LockDelay: s.LockDelay, Behavior: s.Behavior, TTL: s.TTLText,
		NodeChecks: s.NodeChecks, CreateIndex: s.Created, ModifyIndex: s.Modified,
	}
	for _, c := range s.ServiceChecks {
		out.ServiceChecks = append(out.ServiceChecks, sessionService(c))
	}
	return out
}
