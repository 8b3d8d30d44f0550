package remote

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
)

// Config configures a [Gate].
type Config struct {
	Node   string // of this agent
	Ask    Asker
	Tokens *access.AgentTokens // of this agent
	Down   Down
	// Defaults is the access to names without a rule in this agent's configuration. It holds until a server has
	// answered with its own. Hide is the result of Hides.
	Defaults rules.Defaults
	Hide     bool
	// Datacenter is that of this process where servers of another one are asked.
	Datacenter string
	// Denials and Unknown count the decisions that denied, and the requests with an unknown token; nil: own ones do.
	Denials, Unknown *atomic.Uint64
	Log              *slog.Logger
}

// The times of a gate.
const (
	keep        = 30 * time.Second       // an answer is good for so long
	keepUnknown = 5 * time.Second        // likewise, of a token that is refused
	grace       = 500 * time.Millisecond // likewise, after a change at the servers
	askWithin   = 2 * time.Second
	restAfter   = time.Second // no server is asked for so long after none answered
)

// maxKnown bounds the tokens that are kept.
const maxKnown = 10_000

// Gate implements [skerry.Gate] by the answers of servers. Run must be called: it asks again for the
// tokens that are in use.
type Gate struct {
	cfg      Config
	recovery skerry.Identity

	denials, unknown *atomic.Uint64
	asked, failed    atomic.Uint64 // questions

	mu       sync.Mutex
	known    map[[32]byte]*entry // by the hash of the secret
	flights  map[[32]byte]*flight
	index    uint64 // of the server that this agent is attached to
	due      bool   // it moved, and tokens were not asked for again yet
	rest     time.Time
	defaults rules.Defaults
	told     bool // that the servers' defaults differ
	changed  chan struct{}
}

// entry is the last answer about one token.
type entry struct {
	secret string
	who    skerry.Ruled // nil: the token is refused
	holder *access.Holder
	err    error     // why
	at     time.Time // of the answer
	moved  time.Time // when the servers' index moved after it; zero: it did not
	used   time.Time
}

// flight is a question that is under way.
type flight struct {
	done chan struct{}
	err  error // no server answered
}

// New returns a gate that knows no token.
func New(cfg Config) *Gate {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gate{cfg: cfg, known: map[[32]byte]*entry{}, flights: map[[32]byte]*flight{}, defaults: cfg.Defaults, changed: make(chan struct{})}
	if g.denials, g.unknown = cfg.Denials, cfg.Unknown; g.denials == nil {
		g.denials, g.unknown = &atomic.Uint64{}, &atomic.Uint64{}
	}
	g.recovery = access.Recovery(cfg.Node, g.denials)
	return g
}

// Default implements [skerry.Gate].
func (g *Gate) Default() skerry.Access { return g.cfg.Defaults[skerry.ResourceKey] }

// Hides implements [skerry.Gate].
func (g *Gate) Hides() bool { return g.cfg.Hide }

// Changed implements [skerry.Gate]. The channel is closed when something changes at the servers, and again when an
// answer is another one than before.
func (g *Gate) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Identify implements [skerry.Gate]. It asks a server for a token that is not known, for 2 s at most. While no server
// answers, [Config.Down] decides.
func (g *Gate) Identify(secret string) (skerry.Identity, error) {
	secret = g.cfg.Tokens.For(secret)
	if g.cfg.Tokens.Recovers(secret) {
		return g.recovery, nil
	}
	who, err := g.identify(secret)
	if err != nil {
		g.unknown.Add(1)
		return nil, err // not the result: a nil of another type is not a nil Identity
	}
	return who, nil
}

func (g *Gate) identify(secret string) (skerry.Ruled, error) {
	key := sha256.Sum256([]byte(secret))
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if e := g.known[key]; e != nil {
		e.used = now
		if e.good(now) {
			return e.result(now)
		}
		switch {
		case e.who == nil:
		case g.cfg.Down == AsyncCache:
			g.due = true
			return e.result(now)
		case !g.rest.IsZero(): // Run asks on: a server that hangs delays no request
			g.due = true
			return g.without(secret, e, now)
		}
	}
	if now.Before(g.rest) {
		return g.without(secret, g.known[key], now)
	}
	f := g.flights[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		g.flights[key] = f
		g.mu.Unlock()
		f.err = g.ask(context.Background(), []string{secret})
		close(f.done)
		g.mu.Lock()
		delete(g.flights, key)
	} else {
		g.mu.Unlock()
		<-f.done
		g.mu.Lock()
	}
	now = time.Now()
	e := g.known[key]
	if f.err != nil || e == nil {
		return g.without(secret, e, now)
	}
	return e.result(now)
}

// good reports whether an answer can be used as it is.
func (e *entry) good(now time.Time) bool {
	if e.who == nil { // it may have been made meanwhile
		return now.Sub(e.at) < keepUnknown && e.moved.IsZero()
	}
	return now.Sub(e.at) < keep && (e.moved.IsZero() || now.Sub(e.moved) < grace)
}

// result is what the last answer says now.
func (e *entry) result(now time.Time) (skerry.Ruled, error) {
	switch {
	case e.who == nil:
		return nil, e.err
	case !e.who.Expires().IsZero() && !now.Before(e.who.Expires()):
		return nil, skerry.Errorf(skerry.Denied, "ACL not found")
	}
	return e.who, nil
}
