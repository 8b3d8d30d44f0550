package consul

import (
	"context"
	"net/http"
)

type askedKey struct{}

// AskedAt returns a request that the agent of another node passed on: where a request names no node,
// Consul's agent takes its own.
func AskedAt(r *http.Request, node string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), askedKey{}, node))
}

// passedOn reports whether the agent of another node was asked.
func (q *request) passedOn() bool {
	node, is := q.r.Context().Value(askedKey{}).(string)
	return is && node != ""
}

// agentNode returns the node of the agent that was asked.
func (q *request) agentNode() string {
	if node, is := q.r.Context().Value(askedKey{}).(string); is && node != "" {
		return node
	}
	return q.f.b.Self.Name
}
