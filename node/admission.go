package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/book"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/pki/join"
)

// book returns where tokens are kept now: on disk at first, on the machine of the authority, and in the quorum store later.
func (c *credentials) book() (join.Book, error) {
	if kept, err := c.stored(); err == nil {
		return kept, nil
	}
	if _, err := c.first.Tokens(); err == nil {
		return c.first, nil
	}
	return nil, errNoBook
}

var errNoBook = skerry.Errorf(skerry.Unavailable, "this server has no join tokens until the quorum store has a majority: ask another one")

// stored returns the tokens in the quorum store.
func (c *credentials) stored() (*book.Book, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		return nil, errNoBook
	}
	return c.kept, nil
}

// revoked reports whether a key was revoked, as this server knows it.
func (c *credentials) revoked(key join.Print) bool {
	kept, err := c.stored()
	return err == nil && kept.Revoked(key)
}

// revokedIn is revoked for the key of a certificate.
func (c *credentials) revokedIn(cert *x509.Certificate) bool {
	key, err := join.PrintOf(cert.PublicKey)
	return err != nil || c.revoked(key)
}

// startAdmission lets the quorum store keep the tokens of a server, and end connections with keys that are revoked.
func startAdmission(n *Node) (part, error) {
	c := n.creds
	if c == nil || c.server == nil {
		return part{}, nil
	}
	c.held.Revoke(c.revokedIn)
	return part{run: loops(c.admit, c.rotates)}, nil
}

// admit hands the first tokens over to the quorum store, then waits for revocations.
func (c *credentials) admit(ctx context.Context) {
	b := book.New(c.n.store.kv)
	waits := func(err error) { c.n.log.Debug("the join tokens are not in the quorum store yet", "error", err) }
	if err := retry(ctx, waits, func() (bool, error) { return false, c.handOver(ctx, b) }); err != nil {
		return // ctx has ended
	}
	for gone := b.RevokedNodes(); ; { // the other servers took those out
		changed := b.Watch()
		gone = c.cut(ctx, b, gone)
		select {
		case <-ctx.Done():
			b.Unwatch(changed)
			return
		case <-changed:
		}
	}
}

// handOver moves the first tokens into the quorum store. No process joins meanwhile.
func (c *credentials) handOver(ctx context.Context, b *book.Book) error {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if err := c.n.store.kv.Sync(ctx); err != nil {
		return err
	}
	if err := c.first.HandOver(func(t disk.Tokens) error { return b.Import(ctx, t.Entries, t.Keys) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = b
	close(c.handed)
	return nil
}

// cut closes the connections of processes whose keys are revoked, and takes their services out of the catalog. gone has the
// nodes that are out already.
func (c *credentials) cut(ctx context.Context, b *book.Book, gone []string) []string {
	if l := c.n.listener; l != nil {
		l.Cut(func(s tls.ConnectionState) bool {
			return len(s.PeerCertificates) > 0 && c.revokedIn(s.PeerCertificates[0])
		})
	}
	all := b.RevokedNodes()
	for _, node := range all {
		if !slices.Contains(gone, node) {
			c.n.log.Warn("a node was revoked: its connections are closed, and its services are taken out", "node", node)
			c.cutServer(ctx, node)
			c.n.withdraw(node)
		}
	}
	return all
}

// cutServer ends the connections of a server that was revoked at the quorum store and the bus, which stand as long as its member and
// its routes do.
func (c *credentials) cutServer(ctx context.Context, node string) {
	n := c.n
	if n.cfg.Role != PeerRole || node == n.cfg.Self.Name || !slices.ContainsFunc(n.otherServers(), func(m skerry.Member) bool { return m.Name == node }) {
		return
	}
	if err := n.dropMember(ctx, node); err != nil {
		n.log.Error("a server that was revoked has its place in the quorum store still: remove it with force-leave", "server", node, "error", err)
	}
	n.among.bus.Rejoin()
}

// admission implements [skerry.Admission] on servers.
type admission struct{ c *credentials }

// JoinTokens implements [skerry.Admission].
func (a admission) JoinTokens(ctx context.Context) (out []skerry.JoinToken, err error) {
	b, err := a.synced(ctx)
	if err != nil {
		return nil, err
	}
	list, err := b.Tokens()
	for _, t := range list {
		out = append(out, wordOf(t.ID, &t.Entry))
	}
	return out, err
}

// synced returns the tokens in the quorum store when this server has all that any had.
func (a admission) synced(ctx context.Context) (*book.Book, error) {
	b, err := a.book(ctx)
	if err == nil {
		err = a.c.n.store.kv.Sync(ctx)
	}
	return b, err
}

// bookWithin bounds the wait of a request for the tokens in the quorum store, which has just got a majority.
const bookWithin = 5 * time.Second

// book returns the tokens in the quorum store, once it has taken over the first ones.
func (a admission) book(ctx context.Context) (*book.Book, error) {
	select {
	case <-a.c.handed:
	case <-ctx.Done():
	case <-time.After(bookWithin):
	}
	return a.c.stored()
}

func wordOf(id join.ID, e *join.Entry) skerry.JoinToken {
	return skerry.JoinToken{ID: id.String(), Kind: string(e.Kind), Uses: e.Uses, Node: e.Node, Datacenter: e.Datacenter, Made: e.Made, Expires: e.Expires}
}

// MakeJoinToken implements [skerry.Admission].
func (a admission) MakeJoinToken(ctx context.Context, t skerry.JoinToken) (skerry.JoinToken, error) {
	b, err := a.book(ctx)
	if err != nil {
		return t, err
	}
	made, err := join.NewToken(pki.Kind(t.Kind), a.c.signing().Pin(), t.Expires)
	if err != nil {
		return t, err
	}
	e := join.EntryOf(made, now(), t.Uses, t.Node)
	if t.Datacenter != a.c.name.Datacenter {
		e.Datacenter = t.Datacenter
	}
	if err := b.Add(ctx, made.ID, e, now()); err != nil {
		return t, err
	}
	out := wordOf(made.ID, &e)
	out.Secret = made.Secret()
	a.c.n.log.Info("a join token was made", "token", made.ID.String(), "kind", t.Kind, "uses", t.Uses, "node", t.Node, "datacenter", e.Datacenter, "expires", e.Expires)
	return out, nil
}

// RevokeJoinToken implements [skerry.Admission].
func (a admission) RevokeJoinToken(ctx context.Context, id string, nodes bool) ([]string, error) {
	b, err := a.book(ctx)
	if err != nil {
		return nil, err
	}
	of, err := join.ParseID(id)
	if err != nil {
		return nil, err
	}
	return b.Revoke(ctx, of, nodes, now())
}

// JoinedNodes implements [skerry.Admission].
func (a admission) JoinedNodes(ctx context.Context) (out []skerry.JoinedNode, err error) {
	b, err := a.synced(ctx)
	if err != nil {
		return nil, err
	}
	list, err := b.Nodes()
	for _, n := range list {
		out = append(out, skerry.JoinedNode{Name: n.Node, Kind: string(n.Kind), Token: n.Token})
	}
	return out, err
}

// RevokeNode implements [skerry.Admission].
func (a admission) RevokeNode(ctx context.Context, name string) error {
	b, err := a.book(ctx)
	if err != nil {
		return err
	}
	return b.RevokeNode(ctx, name, now())
}
