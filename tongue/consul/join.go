package consul

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// joinTokenBody is a join token, on the wire.
type joinTokenBody struct {
	ID   string `json:",omitempty"`
	Kind string
	Uses int
	Node string `json:",omitempty"`
	// Datacenter is that of the servers that may join; empty: this one.
	Datacenter string `json:",omitempty"`
	Made       time.Time
	Expires    time.Time
	Secret     string `json:",omitempty"` // in the answer to its making alone
}

// newTokenBody is a request for a token.
type newTokenBody struct {
	Kind string
	Uses int           // default 1
	TTL  wire.Duration // default 24 h
	Node string
	// Datacenter is that of the servers that may join; default this one. Agents join with tokens of their own.
	Datacenter string
}

const (
	defaultTokenTTL = 24 * time.Hour
	maxTokenUses    = 100_000
)

var errNoAdmission = skerry.Errorf(skerry.Unsupported, "the processes of this cluster have no certificates: set join_token_file on its servers first")

func (q *request) admission() (skerry.Admission, error) {
	if q.f.b.Admission == nil {
		return nil, errNoAdmission
	}
	return q.f.b.Admission, nil
}

// skerryJoinTokens lists join tokens, without their secrets.
func (q *request) skerryJoinTokens() error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	list, err := a.JoinTokens(q.r.Context())
	if err != nil {
		return err
	}
	out := make([]joinTokenBody, len(list))
	for i, t := range list {
		out[i] = joinTokenBody(t)
	}
	return q.json(out)
}

// skerryJoinTokenMake makes a join token. Its answer has the secret.
func (q *request) skerryJoinTokenMake() error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	var body newTokenBody
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.Uses == 0 {
		body.Uses = 1
	}
	if body.TTL == 0 {
		body.TTL = wire.Duration(defaultTokenTTL)
	}
	switch {
	case body.Kind != "server" && body.Kind != "agent":
		return badRequest("Kind: want server or agent")
	case body.Kind == "agent" && !q.knows(body.Datacenter):
		return badRequest("Datacenter: agents join with tokens that a server of their own datacenter makes")
	case body.Datacenter != "" && !skerry.ValidDatacenter(body.Datacenter):
		return badRequest("Datacenter: want lower-case letters, digits, - and _")
	case body.Uses < 1 || body.Uses > maxTokenUses:
		return badRequest("Uses: want 1 to 100000")
	case time.Duration(body.TTL) < time.Second:
		return badRequest("TTL: want a duration of a second or more, such as 24h")
	}
	made, err := a.MakeJoinToken(q.r.Context(), skerry.JoinToken{Kind: body.Kind, Uses: body.Uses, Node: body.Node, Datacenter: body.Datacenter, Expires: time.Now().Add(time.Duration(body.TTL))})
	if err != nil {
		return err
	}
	return q.json(joinTokenBody(made))
}

// skerryJoinTokenRevoke revokes a join token, and with ?nodes the nodes that joined with it.
func (q *request) skerryJoinTokenRevoke() error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	if q.rest == "" {
		return badRequest("Missing token ID")
	}
	revoked, err := a.RevokeJoinToken(q.r.Context(), q.rest, q.p.has("nodes"))
	if err != nil {
		return err
	}
	return q.json(map[string]any{"Nodes": append([]string{}, revoked...)})
}

// skerryJoined lists the nodes that joined with tokens.
func (q *request) skerryJoined() error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	list, err := a.JoinedNodes(q.r.Context())
	if err != nil {
		return err
	}
	return q.json(append([]skerry.JoinedNode{}, list...))
}

// skerryNodeRevoke revokes a node.
func (q *request) skerryNodeRevoke() error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	if q.rest == "" {
		return badRequest("Missing node name")
	}
	if err := a.RevokeNode(q.r.Context(), q.rest); err != nil {
		return err
	}
	return q.json(true)
}

// authorityBody is the authority of the cluster, on the wire.
type authorityBody struct {
	Pin     string
	Expires time.Time
	Before  string     `json:",omitempty"`
	Began   *time.Time `json:",omitempty"`
	Waiting []string   `json:",omitempty"`
	Restart []string   `json:",omitempty"`
	Moving  bool       `json:",omitempty"`
	Plain   []string   `json:",omitempty"`
}

// authority calls do, and answers with the state of the authority after it.
func (q *request) authority(do func(skerry.Admission, context.Context) (skerry.Authority, error)) error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	now, err := do(a, q.r.Context())
	if err != nil {
		return err
	}
	out := authorityBody{Pin: now.Pin, Expires: now.Expires, Before: now.Before, Waiting: now.Waiting, Restart: now.Restart, Moving: now.Moving, Plain: now.Plain}
	if now.Before != "" {
		out.Began = &now.Began
	}
	return q.json(out)
}

// skerryAuthority answers with the authority of the cluster.
func (q *request) skerryAuthority() error { return q.authority(skerry.Admission.Authority) }

// skerryRotate begins to change the authority.
func (q *request) skerryRotate() error { return q.authority(skerry.Admission.RotateAuthority) }

// skerryRotateFinish takes the trust from the authority before.
func (q *request) skerryRotateFinish() error {
	return q.authority(func(a skerry.Admission, ctx context.Context) (skerry.Authority, error) {
		return a.FinishRotation(ctx, q.p.has("force"))
	})
}
