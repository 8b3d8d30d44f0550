package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/tongue/consul"
)

// Access control at an agent.

// decideRemotely lets an agent decide by the answers of servers. It returns the loop of its gate.
func (n *Node) decideRemotely(c *control) (run func(context.Context)) {
	cfg := n.cfg.ACL
	c.remote = remote.New(remote.Config{
		Node: n.cfg.Self.Name, Ask: n.askTokens, Tokens: c.tokens, Down: cmp.Or(cfg.Down, remote.ExtendCache),
		Defaults: cfg.Defaults, Hide: cfg.Hide, Log: n.log,
	})
	c.gate = c.remote
	return c.remote.Run
}

// askTokens has a server resolve tokens.
func (n *Node) askTokens(ctx context.Context, q remote.Question) (a remote.Answer, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	if body, err = n.attached.forwarder.Ask(ctx, resolvePath, "", body); err != nil {
		return a, err
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("a server's answer about tokens is not understood: %w", err)
	}
	return a, nil
}

// accessMoved takes a server's word that its tokens or policies changed.
func (n *Node) accessMoved(index uint64) {
	if n.control != nil {
		n.control.remote.Moved(index)
	}
}

// agrees returns an error unless the server and this agent both control access, or both do not.
func (n *Node) agrees(server link.Access) error {
	switch own := n.cfg.ACL; {
	case server == link.EnforcedAccess && !own.Enabled:
		return errors.New("it controls access, and this agent does not: set acl.enabled = true here, with acl.tokens.agent")
	case server == link.NoAccess && own.Enabled && !own.DryRun:
		return errors.New("it does not control access, and this agent does: set acl.enabled = true at the servers first, or acl.enabled = false here")
	}
	return nil
}

// grants returns the tokens by which servers judge this agent and the instances.
func (n *Node) grants(of []*skerry.Instance) *cluster.Grants {
	if n.control == nil {
		return nil
	}
	tokens := n.control.tokens
	return &cluster.Grants{
		Node: n.agentToken(), Default: tokens.Secret(access.DefaultToken), Instances: n.kept.agent.Tokens(of, tokens.Secret(access.FileToken)),
	}
}

// reloadTokens applies the agent's tokens of a new configuration. The rest of access control
// is fixed at the start.
func (n *Node) reloadTokens(next ACL) {
	if n.control != nil {
		n.control.tokens.Configure(next.Tokens)
		n.renewGrants()
	}
}

// renewGrants sends the present tokens to the server.
func (n *Node) renewGrants() {
	if n.attached.attachment != nil {
		n.attached.attachment.Renew()
	}
}

// ownTokens are the tokens of this process's agent, which a server is told.
type ownTokens struct {
	*access.AgentTokens
	n *Node
}

// Set implements [consul.AgentTokens].
func (o ownTokens) Set(kind, secret string) error {
	err := o.AgentTokens.Set(kind, secret)
	o.n.renewGrants() // also if it could not be written to disk: it holds
	return err
}

// withToken gives the requests that are passed on without a token the agent's default one.
type withToken struct {
	to     consul.Forwarder
	tokens *access.AgentTokens
}

// Forward implements [consul.Forwarder].
func (h withToken) Forward(w http.ResponseWriter, r *http.Request, repeat bool) {
	if secret := h.tokens.Secret(access.DefaultToken); secret != "" && !hasToken(r) {
		own := *r
		own.Header = r.Header.Clone()
		own.Header.Set("X-Consul-Token", secret)
		r = &own
	}
	h.to.Forward(w, r, repeat)
}

// hasToken reports whether the caller brings a token.
func hasToken(r *http.Request) bool {
	return r.Header.Get("X-Consul-Token") != "" || r.Header.Get("Authorization") != "" ||
		strings.Contains(r.URL.RawQuery, "token") && r.URL.Query().Get("token") != ""
}
