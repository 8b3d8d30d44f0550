package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/registry"
	"github.com/skerryhq/skerry/tongue/dns"
)

// Access control at a server, for agents.

// judge returns what decides about the sets of agents; nil if access is not controlled.
func (n *Node) judge() registry.Judge {
	if !n.cfg.ACL.Enabled {
		return nil
	}
	return judge{n}
}

// judge decides by this server's own copy of the tokens. Access control is started after the registry, and before a
// stream is served.
type judge struct{ n *Node }

// Index implements [registry.Judge].
func (j judge) Index() uint64 { return j.n.control.store.Index() }

// MayWrite implements [registry.Judge].
func (j judge) MayWrite(token string, r skerry.Resource, name string) error {
	who, err := j.n.control.gate.Identify(cmp.Or(token, skerry.AnonymousSecret))
	if err == nil && !who.Allows(r, name, skerry.AccessWrite) {
		err = skerry.DeniedTo(who, r, name, skerry.AccessWrite)
	}
	return err
}

// accessControl returns whether this server controls access, for its introduction to agents.
func (n *Node) accessControl() link.Access {
	switch {
	case !n.cfg.ACL.Enabled:
		return link.NoAccess
	case n.cfg.ACL.DryRun:
		return link.DryAccess
	}
	return link.EnforcedAccess
}

// accessEvery is the shortest time between two words to an agent that tokens or policies changed.
const accessEvery = 250 * time.Millisecond

// tellAccess sends an agent the index of the tokens and policies, now and after each change, until stop is called or
// ctx ends.
func (n *Node) tellAccess(ctx context.Context, s *link.Stream) (stop func()) {
	if n.control == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		for {
			changed := n.control.gate.Changed() // before the index: a change between them is told next
			data, err := frame.Encode(cluster.Access{Index: n.control.store.Index()})
			if err != nil || s.Send(data) != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(accessEvery):
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	})
	return func() {
		cancel()
		telling.Wait()
	}
}

// resolvePath is where a server resolves tokens for agents.
const resolvePath = "/v1/skerry/link/resolve"

// resolve answers an agent's question about tokens.
func (n *Node) resolve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "post a question", http.StatusMethodNotAllowed)
		return
	}
	var q remote.Question
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, remote.MaxQuestion))
	if err == nil && json.Unmarshal(body, &q) != nil {
		err = fmt.Errorf("the question about tokens is not understood") // the error of the decoder may have a secret
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if peer, known := pki.Peer(r.TLS); known && n.fromFar(r) && (peer.Kind != pki.Server || peer.Datacenter != q.Datacenter) {
		http.Error(w, "this is for the processes of the datacenter "+n.cfg.Self.Datacenter+", and for servers that ask for their own", http.StatusForbidden)
		return
	}
	if n.control == nil {
		http.Error(w, "this server does not control access: see acl.enabled", http.StatusNotImplemented)
		return
	}
	a, err := n.resolved(r, q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}

// resolveSoon bounds the wait for the newest tokens, for a question of another datacenter.
const resolveSoon = 500 * time.Millisecond

// resolved answers a question about tokens. Servers of another datacenter hear of a change at one server, and may ask another
// one that is behind.
func (n *Node) resolved(r *http.Request, q remote.Question) (remote.Answer, error) {
	c := n.control
	if q.Datacenter != "" && q.Datacenter != n.cfg.Self.Datacenter {
		if primary := n.cfg.ACL.follows(n.cfg.Self.Datacenter); primary != "" {
			return remote.Answer{}, fmt.Errorf("the primary datacenter is %s: see primary_datacenter", primary)
		}
		ctx, cancel := context.WithTimeout(r.Context(), resolveSoon)
		defer cancel()
		c.store.Sync(ctx) // without a majority the copy of this server counts
		return remote.Resolve(c.store, q)
	}
	if c.far != nil {
		c.far.Prepare(r.Context(), q.Tokens)
		return remote.Resolve(c.far, q)
	}
	return remote.Resolve(c.store, q)
}

// askers answer the DNS questions that agents pass on, each as the holder of one token sees the catalog.
type askers struct {
	mu  sync.Mutex
	cfg dns.Config
	by  map[[32]byte]*dns.Server // by the hash of the token
}

// maxAskers bounds the tokens with a DNS server of their own. Agents have one or a few between them.
const maxAskers = 64

// reload takes a new configuration.
func (a *askers) reload(cfg dns.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cfg, a.by = cfg, nil
}

// dnsOf returns what answers the DNS questions that an agent asks with a token. Without one it is anonymous.
func (n *Node) dnsOf(token string) *dns.Server {
	if n.control == nil {
		return n.fronts.dns
	}
	if _, err := n.control.gate.Identify(token); err != nil || token == "" {
		token = skerry.AnonymousSecret
	}
	key := sha256.Sum256([]byte(token))
	a := &n.fronts.askers
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.by[key]; s != nil {
		return s
	}
	if a.by == nil || len(a.by) >= maxAskers {
		a.by = map[[32]byte]*dns.Server{}
	}
	s := n.dnsAs(a.cfg, func() string { return token })
	a.by[key] = s
	return s
}
