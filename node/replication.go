package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/access/replication"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/tongue/consul"
)

// The copy of the policies and tokens of the primary datacenter, at both sides.

// replicationPath is where a server of the primary datacenter answers those of others.
const replicationPath = "/v1/skerry/link/acl"

// maxReplicating bounds the questions of other datacenters that wait at a server: each datacenter has one.
const maxReplicating = 200

// follows returns the primary datacenter if it is another one, else nothing.
func (a *ACL) follows(own string) string {
	if a.Primary == own {
		return ""
	}
	return a.Primary
}

// replicate copies from the primary datacenter. It returns the loop.
func (n *Node) replicate(c *control, primary string) func(context.Context) {
	if n.far == nil {
		n.log.Warn("policies and tokens cannot be copied: set ports.server, where servers of the primary datacenter are reached", "primary_datacenter", primary)
	}
	d := n.store.decided
	c.replicator = replication.New(replication.Config{
		Primary: primary, Tokens: n.cfg.ACL.CopyTokens, Store: c.store, KV: n.store.kv, Ask: n.askPrimary,
		Leads: d.Leading, Led: func() bool { return d.Leader() != "" }, Log: n.log,
	})
	return c.replicator.Run
}

// askPrimary has a server of the primary datacenter answer.
func (n *Node) askPrimary(ctx context.Context, q replication.Question) (a replication.Answer, err error) {
	body, err := json.Marshal(q)
	if err == nil {
		body, err = n.askFar(ctx, n.cfg.ACL.Primary, replicationPath, n.control.tokens.Secret(access.ReplicationToken), body)
	}
	if err == nil && json.Unmarshal(body, &a) != nil {
		err = fmt.Errorf("the answer of %s about its policies and tokens is not understood", n.cfg.ACL.Primary)
	}
	return a, err
}

// askPrimaryTokens has a server of the primary datacenter resolve tokens.
func (n *Node) askPrimaryTokens(ctx context.Context, q remote.Question) (a remote.Answer, err error) {
	body, err := json.Marshal(q)
	if err == nil {
		body, err = n.askFar(ctx, n.cfg.ACL.Primary, resolvePath, "", body)
	}
	if err == nil && json.Unmarshal(body, &a) != nil {
		err = fmt.Errorf("the answer of %s about tokens is not understood", n.cfg.ACL.Primary)
	}
	return a, err
}

// askFar has a server of another datacenter answer a question.
func (n *Node) askFar(ctx context.Context, datacenter, path, token string, body []byte) ([]byte, error) {
	if n.far == nil || !n.far.Reached(datacenter) {
		return nil, skerry.Errorf(skerry.Unavailable, "No path to datacenter %s", datacenter)
	}
	return n.far.get(datacenter).passed.Ask(ctx, path, token, body)
}

// serveReplication answers a server of another datacenter.
func (n *Node) serveReplication(w http.ResponseWriter, r *http.Request) {
	c := n.control
	if c == nil {
		http.Error(w, "this datacenter does not control access: see acl.enabled", http.StatusNotImplemented)
		return
	}
	if primary := n.cfg.ACL.follows(n.cfg.Self.Datacenter); primary != "" {
		http.Error(w, "the primary datacenter is "+primary+": see primary_datacenter", http.StatusConflict)
		return
	}
	if n.replicating.Add(1) > maxReplicating {
		n.replicating.Add(-1)
		http.Error(w, "too many servers wait for a change of policies and tokens", http.StatusTooManyRequests)
		return
	}
	defer n.replicating.Add(-1)
	var q replication.Question
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, replication.MaxQuestion))
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		http.Error(w, "the question for policies and tokens is not understood", http.StatusBadRequest)
		return
	}
	if err := n.mayReplicate(r, q.Tokens); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	a, err := replication.Resolve(r.Context(), c.store, q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}

// mayReplicate returns an error unless a process may have the policies, and the tokens if it asks for them. With TLS
// servers of known datacenters may; else the holder of a token that may read, or write, them.
func (n *Node) mayReplicate(r *http.Request, tokens bool) error {
	if n.creds != nil {
		peer, known := pki.Peer(r.TLS)
		if !known || peer.Kind != pki.Server || n.far == nil || !n.far.Knows(peer.Datacenter) {
			return fmt.Errorf("policies and tokens are for servers of other datacenters that are joined by retry_join_wan")
		}
		return nil
	}
	who, err := n.control.gate.Identify(forward.Token(r))
	need := skerry.AccessRead
	if tokens {
		need = skerry.AccessWrite
	}
	if err == nil && !who.Allows(skerry.ResourceACL, "", need) {
		err = skerry.DeniedTo(who, skerry.ResourceACL, "", need)
	}
	if err != nil {
		return fmt.Errorf("acl.tokens.replication: %w", err)
	}
	return nil
}

// primary returns the datacenter that decides on tokens, for the front-end; nil: this one does.
func (n *Node) primary() *consul.Primary {
	c := n.control
	if c == nil || c.replicator == nil {
		return nil
	}
	return &consul.Primary{Datacenter: n.cfg.ACL.Primary, Tokens: n.cfg.ACL.CopyTokens, State: c.replicator.State}
}
