package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/book"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/pki/join"
	"github.com/skerryhq/skerry/quorum"
	"github.com/skerryhq/skerry/rates"
)

// credentials are what this process shows to other processes of the cluster, and how it gets them. All methods of a nil one
// are those of a process whose connections are plain.
type credentials struct {
	n      *Node
	folder disk.Folder
	name   pki.Name
	held   *pki.Credentials
	server *join.Server  // on servers
	handed chan struct{} // closed when kept is there

	rotation
	moving moving

	mu        sync.Mutex
	authority *pki.Authority // on servers
	first     disk.Book      // the tokens from before there was a quorum store
	kept      *book.Book     // those in the quorum store; nil: it has not taken over the first yet
}

const (
	// joinEvery is the time between two tries to join.
	joinEvery = time.Second
	// renewEvery is how often it is looked whether the certificate is to be renewed, unless certificates are valid for a
	// shorter time than usual. It is renewed after two thirds of its time.
	renewEvery = time.Minute
	renewLeast = 100 * time.Millisecond
	// endsSoon is how long before the end of the authority servers begin to warn of it, each warnEvery.
	endsSoon  = 90 * 24 * time.Hour
	warnEvery = 24 * time.Hour
)

// handshakes is how many a second one address may begin at ports.server: beyond it they end before any cryptography.
const handshakes = 100

var errHandshakes = errors.New("too many handshakes from this address")

func now() time.Time { return time.Now() }

// startCredentials gets the certificate of this process. A server waits for it, and an agent goes on without.
func startCredentials(n *Node) (part, error) {
	file, own := n.cfg.Cluster.TokenFile, n.cfg.Cluster.Own
	folder := disk.Folder(filepath.Join(n.cfg.DataDir, "pki"))
	if file == "" && own == (OwnCertificate{}) {
		if _, err := folder.Load(); n.cfg.DataDir != "" && err == nil {
			return part{}, fmt.Errorf("%s has the certificate of a cluster with TLS: set join_token_file, which need not be there any more, or remove the folder", folder)
		}
		return part{}, nil
	}
	c := &credentials{n: n, folder: folder, held: pki.Pending(now), first: folder.Book(), handed: make(chan struct{}), rotation: newRotation(), name: pki.Name{Datacenter: n.cfg.Self.Datacenter, Kind: pki.Agent, Node: n.cfg.Self.Name}}
	if n.cfg.Role != AgentRole {
		c.name.Kind = pki.Server
	}
	if err := c.name.Check(); err != nil {
		return part{}, err
	}
	n.creds = c
	if own != (OwnCertificate{}) {
		return c.startOwn(own)
	}
	if c.name.Kind == pki.Agent {
		if err := c.load(); err != nil {
			return part{}, err
		}
		return part{run: loops(c.keep)}, nil
	}
	if err := c.begin(); err != nil {
		return part{}, err
	}
	c.server = join.NewServer(join.Config{
		Datacenter: c.name.Datacenter, Authority: c.signing, Signed: c.signed, Book: c.book, Revoked: c.revoked, Lives: c.lives, Valid: c.valid(),
		Now: now, Registerer: n.metrics, Log: n.log,
	})
	return part{run: loops(c.keep)}, nil
}

// load takes the credentials on disk. Those that are not accepted any more count as none.
func (c *credentials) load() error {
	h, err := c.folder.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.held.Replace(h); err != nil {
		c.n.log.Warn("this process joins anew: its certificate is not accepted any more", "error", err)
		return nil
	}
	if name, err := pki.Of(h.Leaf()); err != nil || name != c.name {
		return fmt.Errorf("%s has the certificate of %v, and this process is %v: give it the node name of before, or remove the folder and join anew", c.folder, name, c.name)
	}
	return nil
}

// begin gets the first certificate of a server.
func (c *credentials) begin() (err error) {
	if c.authority, err = c.folder.Authority(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	switch {
	case c.authority != nil && c.held.Held() != nil:
		return nil
	case c.authority != nil:
		return c.admitOwn()
	case len(c.n.cfg.Cluster.Join)+len(c.n.cfg.Cluster.JoinWAN) == 0:
		return fmt.Errorf("there is no authority in %s, and no server to join in retry_join or retry_join_wan: run `skerry token create -server -data-dir %s` on the first machine", c.folder, c.n.cfg.DataDir)
	}
	waits := func(err error) { c.n.log.Warn("this server waits for a certificate of another one", "error", err) }
	return retry(c.n.starting, waits, func() (done bool, err error) {
		err = c.join(c.n.starting)
		return skerry.KindOf(err) == skerry.Invalid, err
	})
}

// retry calls do again and again until it returns no error, or is done with one, or ctx ends. told gets each error that is
// another than the one before.
func retry(ctx context.Context, told func(error), do func() (done bool, err error)) error {
	for last := ""; ; {
		done, err := do()
		if err == nil || done {
			return err
		}
		if last != err.Error() {
			last = err.Error()
			told(err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(joinEvery):
		}
	}
}

// admitOwn gives this server, which has the authority, its first certificate. It takes a use of its token, as others do.
func (c *credentials) admitOwn() error {
	t, err := c.token()
	if err != nil {
		return err
	}
	key, err := c.folder.Key()
	if err != nil {
		return err
	}
	if err := join.Admit(c.n.starting, c.first, t, c.name.Node, key.Public(), now()); err != nil {
		return fmt.Errorf("join_token_file: %w", err)
	}
	return c.renewOwn()
}

// token reads the join token.
func (c *credentials) token() (*join.Token, error) {
	text, err := files.Read(c.n.cfg.Cluster.TokenFile, maxToken)
	if err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "join_token_file: %w", err)
	}
	t, err := join.ParseToken(string(text))
	if err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "join_token_file: %w", err)
	}
	if t.Kind != c.name.Kind {
		return nil, skerry.Errorf(skerry.Invalid, "join_token_file: the token is for a process of the kind %s, and this is of the kind %s: make one with `skerry token create -%s`", t.Kind, c.name.Kind, c.name.Kind)
	}
	return t, nil
}

const maxToken = 4 << 10

// join asks the servers of retry_join for a certificate, and then those of retry_join_wan: a token may be of another datacenter,
// which gives the first servers of this one the authority.
func (c *credentials) join(ctx context.Context) error {
	t, err := c.token()
	if err != nil {
		return err
	}
	key, err := c.folder.Key()
	if err != nil {
		return err
	}
	var errs []error
	for _, address := range slices.Concat(c.n.cfg.Cluster.Join, c.n.cfg.Cluster.JoinWAN) {
		got, err := join.Ask(ctx, address, t, c.name, key, now)
		if err == nil {
			return c.take(got, address)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// take keeps what a server gave.
func (c *credentials) take(got join.Got, address string) error {
	if got.Authority != nil {
		if err := c.folder.SaveAuthority(got.Authority); err != nil {
			return err
		}
		c.mu.Lock()
		c.authority = got.Authority
		c.mu.Unlock()
	}
	if err := c.folder.Save(got.Held); err != nil {
		return err
	}
	first := c.held.Held() == nil
	if err := c.held.Replace(got.Held); err != nil {
		return fmt.Errorf("the certificate from %s: %w", address, err)
	}
	if first {
		c.moving.joined()
	}
	c.n.log.Info("this process has a certificate", "name", c.name.String(), "from", address, "until", got.Leaf().NotAfter)
	return nil
}

// signing is what this server signs with.
func (c *credentials) signing() *pki.Authority {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authority
}

// renewOwn signs a certificate for this server.
func (c *credentials) renewOwn() error {
	key, err := c.folder.Key()
	if err != nil {
		return err
	}
	request, err := pki.Request(key)
	if err != nil {
		return err
	}
	h, err := c.signing().Sign(request, c.name, now(), c.valid())
	if err != nil {
		return err
	}
	h.Key = key
	if err := c.folder.Save(h); err != nil {
		return err
	}
	return c.held.Replace(h)
}

func (c *credentials) valid() time.Duration {
	return cmp.Or(c.n.cfg.Cluster.CertificateFor, pki.CertificateFor)
}

// keep joins, if this process has not yet, and renews the certificate until ctx ends.
func (c *credentials) keep(ctx context.Context) {
	var warned time.Time
	for told := ""; ; {
		err, pause := c.renew(ctx), joinEvery
		switch {
		case err == nil:
			pause = max(renewLeast, min(renewEvery, c.held.Held().Leaf().NotAfter.Sub(now())/30))
			warned = c.warnOfEnd(warned)
		case told != err.Error():
			told = err.Error()
			c.n.log.Warn("this process gets no certificate yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.outdated:
			if !c.spread(ctx) {
				return
			}
		case <-time.After(pause):
		}
	}
}

// warnOfEnd warns of the end of the authority, on servers. last is the time of the last warning; it returns the new one.
func (c *credentials) warnOfEnd(last time.Time) time.Time {
	a := c.signing()
	if a == nil || now().Before(a.Certificate().NotAfter.Add(-endsSoon)) || now().Sub(last) < warnEvery {
		return last
	}
	c.n.log.Warn("the authority of the cluster's certificates ends soon: change it with `skerry ca rotate`", "end", a.Certificate().NotAfter)
	return now()
}

// renew gets a certificate if there is none, or two thirds of its time have passed, or other authorities are trusted.
func (c *credentials) renew(ctx context.Context) error {
	h := c.held.Held()
	if h == nil {
		return c.join(ctx)
	}
	leaf := h.Leaf()
	signed := pki.SignedAt(leaf)
	switch {
	case now().Before(signed.Add(leaf.NotAfter.Sub(signed)*2/3)) && c.trusts(h.Roots):
		return nil
	case now().Before(leaf.NotAfter) && leaf.NotAfter.Equal(h.Roots[0].NotAfter) && c.trusts(h.Roots):
		return nil // none lasts longer than the authority
	case c.name.Kind == pki.Server:
		return c.renewOwn()
	case now().After(leaf.NotAfter):
		return c.join(ctx)
	}
	_, address, ok := c.n.attached.attachment.Pick()
	if !ok {
		return errors.New("the certificate is to be renewed, and no server is known")
	}
	got, err := join.Renew(ctx, c.n.attached.dialer.RoundTripper(), address, c.name, h.Key)
	if err != nil {
		return err
	}
	return c.take(got, address)
}

// lives reports whether a process of a node is there, as this server knows it: the catalog shows the node until its agent
// is lost.
func (c *credentials) lives(node string) bool { return c.n.table.Node(node) != nil }

// dial is the TLS of connections to servers; nil: they are plain.
func (c *credentials) dial() *tls.Config {
	if c == nil {
		return nil
	}
	return c.held.Dial(c.name.Datacenter)
}

// dialFar is the TLS of connections to servers of other datacenters; nil: they are plain.
func (c *credentials) dialFar() *tls.Config {
	if c == nil {
		return nil
	}
	return c.held.DialAny()
}

// among is the TLS of the bus; nil: it is plain.
func (c *credentials) among(own bool) *tls.Config {
	if c == nil || !own {
		return nil
	}
	return c.held.Among(c.name.Datacenter)
}

// peers is the TLS of the quorum store's members; nil: they are plain.
func (c *credentials) peers() *quorum.PeerTLS {
	if c == nil {
		return nil
	}
	authorities, certificate, key := c.folder.Files()
	if own := c.n.cfg.Cluster.Own; own != (OwnCertificate{}) {
		authorities, certificate, key = own.CAFile, own.CertFile, own.KeyFile
	}
	c.member = pki.Pins(c.held.Held().Roots)
	return &quorum.PeerTLS{CAFile: authorities, CertFile: certificate, KeyFile: key, ServerName: pki.ServerName(c.name.Datacenter)}
}

// listen is the TLS of ports.server; nil: it is plain.
func (c *credentials) listen() *link.Secure {
	if c == nil {
		return nil
	}
	conf := c.held.Listen(true, c.name.Datacenter, []pki.Kind{pki.Agent, pki.Server})
	shakes := rates.New(handshakes)
	conf.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if !shakes.Allow(h.Conn.RemoteAddr().String()) {
			return nil, errHandshakes
		}
		return nil, nil
	}
	open := map[string]http.HandlerFunc{}
	if s := c.server; s != nil {
		open[join.JoinPath], open[join.RenewPath] = s.ServeJoin, s.ServeRenew
	}
	return &link.Secure{
		Config: conf,
		Peer: func(s *tls.ConnectionState) link.Peer {
			n, _ := pki.Peer(s)
			return link.Peer{Node: n.Node, Datacenter: n.Datacenter}
		},
		Open:  open,
		Mixed: c.moves(),
	}
}
