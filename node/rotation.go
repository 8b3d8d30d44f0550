package node

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/book"
	"github.com/skerryhq/skerry/pki/join"
)

// rotation is how far a process is with a change of the authority. A server makes the next one and notes it in the quorum store; the
// others get it from one that has it. It signs at once, since the one before has signed its certificate. Agents are told, and get
// certificates of it. When all have one, the one before loses its trust.
type rotation struct {
	outdated chan struct{} // signals that the certificate may have to be another one
	member   []pki.Pin     // that the member of the quorum store trusts since its start
	stepping sync.Mutex
	streams  sync.Map // *link.Stream of each agent here

	news struct {
		sync.Mutex
		pins  []string // an agent: those of its server; empty: they do not change
		frame []byte   // a server: the message to its agents; nil: there is none
	}
}

const (
	// spreadWithin is the time over which agents ask for certificates of another authority.
	spreadWithin = 5 * time.Second
	// sendAtOnce bounds the agents that a message about authorities is sent to at once.
	sendAtOnce = 64
	// noteWithin bounds the note of which authority has signed a certificate.
	noteWithin = time.Second
	// clocksWithin is how far the clocks of two machines may be apart.
	clocksWithin = 5 * time.Minute
)

func newRotation() rotation { return rotation{outdated: make(chan struct{}, 1)} }

// told takes the pins of the authorities that an agent's server trusts.
func (c *credentials) told(pins []string) {
	if c == nil {
		return
	}
	c.news.Lock()
	c.news.pins = pins
	c.news.Unlock()
	c.look()
}

// look has the certificate looked at.
func (c *credentials) look() {
	select {
	case c.outdated <- struct{}{}:
	default:
	}
}

// trusts reports whether these are the authorities that this process has to trust.
func (c *credentials) trusts(roots []*x509.Certificate) bool {
	if c.name.Kind == pki.Server {
		return slices.Equal(pki.Pins(roots), pki.Pins(c.signing().Roots()))
	}
	c.news.Lock()
	defer c.news.Unlock()
	return len(c.news.pins) == 0 || slices.Equal(texts(pki.Pins(roots)), c.news.pins)
}

func texts(pins []pki.Pin) (out []string) {
	for _, p := range pins {
		out = append(out, p.String())
	}
	return out
}

// spread waits for a part of spreadWithin, so that not all agents ask at once. It returns false if ctx ends.
func (c *credentials) spread(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(spreadWithin)):
		return true
	}
}

// tellAuthorities sends an agent the authorities that are trusted, now if there was a rotation and at each change, until left is
// called.
func (c *credentials) tellAuthorities(s *link.Stream) (left func()) {
	if c == nil {
		return func() {}
	}
	c.streams.Store(s, nil)
	c.news.Lock()
	frame := c.news.frame
	c.news.Unlock()
	if frame != nil {
		_ = s.Send(frame) // the stream ends after an error
	}
	return func() { c.streams.Delete(s) }
}

// tell sends all agents here the authorities that are trusted.
func (c *credentials) tell() error {
	f, err := frame.Encode(cluster.Authorities{Pins: texts(pki.Pins(c.signing().Roots()))})
	if err != nil {
		return err
	}
	c.news.Lock()
	same := string(c.news.frame) == string(f)
	c.news.frame = f
	c.news.Unlock()
	if same {
		return nil
	}
	var telling sync.WaitGroup
	slots := make(chan struct{}, sendAtOnce)
	c.streams.Range(func(s, _ any) bool {
		slots <- struct{}{}
		telling.Go(func() {
			_ = s.(*link.Stream).Send(f) // as above
			<-slots
		})
		return true
	})
	telling.Wait()
	return nil
}

// signed notes which authority has signed the certificate of a node, in a rotation.
func (c *credentials) signed(ctx context.Context, n pki.Name, by pki.Pin) {
	kept, err := c.stored()
	if err != nil || len(c.signing().Roots()) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, noteWithin)
	defer cancel()
	if err := kept.Signed(ctx, n.Node, by); err != nil {
		c.n.log.Warn("it is not noted that a node has a certificate of the new authority: it counts as one without until it renews it", "node", n.Node, "error", err)
	}
}

// rotates follows rotations until ctx ends.
func (c *credentials) rotates(ctx context.Context) {
	select {
	case <-c.handed:
	case <-ctx.Done():
		return
	}
	b, err := c.stored()
	if err != nil {
		return
	}
	for {
		changed := b.WatchRotation()
		waits := func(err error) {
			c.n.log.Warn("this server has not followed the rotation of the authority yet", "error", err)
		}
		_ = retry(ctx, waits, func() (bool, error) { return false, c.step(ctx, b) }) // until ctx has ended
		select {
		case <-ctx.Done():
			b.Unwatch(changed)
			return
		case <-changed:
		}
	}
}

// step does what the last rotation asks of this server.
func (c *credentials) step(ctx context.Context, b *book.Book) error {
	c.stepping.Lock()
	defer c.stepping.Unlock()
	r, err := b.Rotation()
	if err != nil || r == nil {
		return err
	}
	if c.signing().Pin() == r.Before {
		next, err := c.next(ctx, r)
		if err != nil {
			return err
		}
		if err := c.install(next); err != nil {
			return err
		}
		c.n.log.Info("another authority signs certificates from now on, and both are trusted", "authority", next.Pin().String(), "before", r.Before.String())
	}
	own := c.signing()
	switch {
	case own.Pin() != r.Now:
		return nil // the rotation was another cluster's, of which this one has a snapshot
	case !r.Done.IsZero() && len(own.Roots()) > 1:
		if err := c.install(own.Alone()); err != nil {
			return err
		}
		c.n.log.Info("the authority before is not trusted any more, but by the member of the quorum store until this server is restarted", "before", r.Before.String())
	case r.Done.IsZero():
		c.signed(ctx, c.name, r.Now)
	}
	if next, err := c.folder.Next(); err == nil && next.Pin() == own.Pin() { // else it may be that of a rotation which begins
		if err := c.folder.DropNext(); err != nil {
			return err
		}
	}
	if trusted, err := b.Trusted(c.name.Node); err != nil || !slices.Equal(trusted, c.member) {
		if err := b.Trusts(ctx, c.name.Node, c.member); err != nil {
			return err
		}
	}
	return c.tell()
}

// next returns the new authority of a rotation, which this server made or another one has.
func (c *credentials) next(ctx context.Context, r *book.Rotation) (*pki.Authority, error) {
	if next, err := c.folder.Next(); err == nil && next.Pin() == r.Now {
		return next, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err := skerry.Errorf(skerry.Unavailable, "the server %s made the authority %v, and no server gives it to this one", r.By, r.Now)
	for _, m := range c.n.otherServers() {
		got, asked := join.Renew(ctx, c.n.drains.dialer.RoundTripper(), m.Address, c.name, c.held.Held().Key)
		if asked == nil && got.Authority.Pin() == r.Now {
			return got.Authority, nil
		}
		if asked != nil {
			err = skerry.Errorf(skerry.Unavailable, "%s: %s: %w", err.Message, m.Name, asked)
		}
	}
	return nil, err
}

// install lets an authority sign.
func (c *credentials) install(a *pki.Authority) error {
	if err := c.folder.SaveAuthority(a); err != nil {
		return err
	}
	c.mu.Lock()
	c.authority = a
	c.mu.Unlock()
	return c.renewOwn()
}

// Authority implements [skerry.Admission].
func (a admission) Authority(ctx context.Context) (out skerry.Authority, err error) {
	b, err := a.synced(ctx)
	if err != nil {
		return out, err
	}
	own := a.c.signing()
	out = skerry.Authority{Pin: own.Pin().String(), Expires: own.Certificate().NotAfter, Moving: a.c.moves()}
	if out.Moving {
		out.Plain = a.c.lookPlain()
	}
	r, err := b.Rotation()
	if err != nil || r == nil || r.Now != own.Pin() {
		return out, err
	}
	if !r.Done.IsZero() {
		out.Restart, err = a.restart(b, r)
		return out, err
	}
	out.Before, out.Began = r.Before.String(), r.Began
	out.Waiting, err = a.waiting(b, r)
	return out, err
}

// waiting returns the nodes whose certificates may still be of the authority before. After the time of a certificate there is
// none.
func (a admission) waiting(b *book.Book, r *book.Rotation) (out []string, err error) {
	if now().After(r.Began.Add(a.c.valid() + clocksWithin)) {
		return nil, nil
	}
	nodes, err := b.Nodes()
	for _, n := range nodes {
		if n.Authority != r.Now {
			out = append(out, n.Node)
		}
	}
	return out, err
}

// restart returns the servers whose members of the quorum store do not trust the present authority alone.
func (a admission) restart(b *book.Book, r *book.Rotation) (out []string, err error) {
	for _, m := range a.c.n.served.cluster.Members() {
		pins, err := b.Trusted(m.Name)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(pins, []pki.Pin{r.Now}) && len(a.c.member) > 0 {
			out = append(out, m.Name)
		}
	}
	return out, nil
}

// RotateAuthority implements [skerry.Admission].
func (a admission) RotateAuthority(ctx context.Context) (skerry.Authority, error) {
	was, err := a.Authority(ctx)
	switch {
	case err != nil:
		return was, err
	case was.Before != "":
		return was, skerry.Errorf(skerry.Conflict, "a rotation is under way since %s: finish it first", was.Began.Format(time.RFC3339))
	case a.c.n.far != nil && len(a.c.n.far.Datacenters()) > 0:
		return was, skerry.Errorf(skerry.Unsupported, "the datacenter %s has the same authority, and would not trust the next one: an authority is changed in a cluster of one datacenter only", a.c.n.far.Datacenters()[0].Name)
	case len(was.Restart) > 0:
		return was, skerry.Errorf(skerry.Conflict, "restart these servers first, one after another: their members of the quorum store trust an earlier authority since their start: %s", strings.Join(was.Restart, ", "))
	}
	b, err := a.book(ctx)
	if err != nil {
		return was, err
	}
	own := a.c.signing()
	next, err := own.Succeed(now())
	if err != nil {
		return was, err
	}
	if err := a.c.folder.SaveNext(next); err != nil {
		return was, err
	}
	err = b.Rotate(ctx, func(r *book.Rotation) (*book.Rotation, error) {
		if r != nil && r.Before == own.Pin() {
			return nil, skerry.Errorf(skerry.Conflict, "another rotation has begun: try again when this server has followed it")
		}
		return &book.Rotation{Now: next.Pin(), Before: own.Pin(), Began: now().UTC().Truncate(time.Second), By: a.c.name.Node}, nil
	})
	if err != nil {
		return was, err
	}
	return a.stepped(ctx, b)
}

// stepped returns the state after this server's own step.
func (a admission) stepped(ctx context.Context, b *book.Book) (skerry.Authority, error) {
	if err := a.c.step(ctx, b); err != nil {
		return skerry.Authority{}, err
	}
	return a.Authority(ctx)
}

// FinishRotation implements [skerry.Admission].
func (a admission) FinishRotation(ctx context.Context, force bool) (skerry.Authority, error) {
	was, err := a.Authority(ctx)
	switch {
	case err != nil:
		return was, err
	case was.Before == "":
		return was, skerry.Errorf(skerry.Conflict, "there is no rotation to finish")
	case len(was.Waiting) > 0 && !force:
		return was, skerry.Errorf(skerry.Conflict, "%d nodes may have no certificate of the new authority yet, for example %s: wait until they renew it, or revoke those that are gone", len(was.Waiting), was.Waiting[0])
	}
	b, err := a.book(ctx)
	if err != nil {
		return was, err
	}
	err = b.Rotate(ctx, func(r *book.Rotation) (*book.Rotation, error) {
		if r == nil || r.Now.String() != was.Pin {
			return nil, skerry.Errorf(skerry.Conflict, "another rotation has begun")
		}
		done := *r
		done.Done = now().UTC()
		return &done, nil
	})
	if err != nil {
		return was, err
	}
	return a.stepped(ctx, b)
}
