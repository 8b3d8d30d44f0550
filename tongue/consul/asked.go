package consul

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
)

// Asked describes a request that an agent passed on.
type Asked struct {
	Node string // the agent's; empty: it was not passed on
	// Made reports whether another attempt of the request was made. From then on the request changes
	// nothing, and has the outcome of that attempt. nil: the request comes once.
	Made func(context.Context) (bool, error)
	// Body is that of a request that may have been made before, which is not read from the request;
	// nil: it comes for the first time.
	Body []byte
}

type askedKey struct{}

// AskedAt returns a request that an agent passed on: where it names no node, Consul's agent takes its
// own.
func AskedAt(r *http.Request, a Asked) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), askedKey{}, &a))
}

// passedOn returns the description of a request that an agent passed on, else nil.
func (q *request) passedOn() *Asked {
	if a, _ := q.r.Context().Value(askedKey{}).(*Asked); a != nil && a.Node != "" {
		return a
	}
	return nil
}

// agentNode returns the node of the agent that was asked.
func (q *request) agentNode() string {
	if a := q.passedOn(); a != nil {
		return a.Node
	}
	return q.f.b.Self.Name
}

// attempt calls the endpoint. A request that was made before is answered as it would have been then,
// whatever has changed since: the caller's token, or the node of a session.
func (q *request) attempt() error {
	a := q.passedOn()
	if a == nil || a.Made == nil || a.Body == nil {
		return q.run()
	}
	made, err := a.Made(q.r.Context())
	if err != nil {
		return err
	}
	if !made {
		q.rewind(a)
		err := q.run()
		if err == nil || errors.Is(err, errAnswered) {
			return err
		}
		// It may have been made meanwhile, and that may be the reason of the error.
		if made, again := a.Made(q.r.Context()); again != nil || !made {
			return err
		}
	}
	q.replays = true
	q.rewind(a)
	return q.run()
}

// rewind makes the endpoint read the body from its beginning.
func (q *request) rewind(a *Asked) {
	q.r.Body = io.NopCloser(bytes.NewReader(a.Body))
	q.limitBody()
}
