package remote

import (
	"cmp"
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
)

// Far is the gate of a server whose datacenter has no copy of the tokens: local ones are in its own store, and the primary
// datacenter is asked for the holders of the others. It implements [skerry.Gate] and [Holders].
type Far struct {
	store  *access.Store
	own    *access.Gate
	asking *Gate
	tokens *access.AgentTokens
}

// NewFar returns the gate of a server. cfg asks the primary datacenter. Run must be called.
func NewFar(store *access.Store, cfg Config) *Far {
	ask := cfg.Ask
	cfg.Defaults, cfg.Hide = store.Defaults(), store.Hides()
	cfg.Denials, cfg.Unknown = store.Counts()
	// The answer is as old as the last word of the primary datacenter on a change, and the access to names without a rule is
	// that of this one.
	cfg.Ask = func(ctx context.Context, q Question) (Answer, error) {
		index := store.Index()
		a, err := ask(ctx, q)
		a.Index, a.Defaults, a.Hides = index, cfg.Defaults, cfg.Hide
		return a, err
	}
	return &Far{store: store, own: access.NewGate(store, cfg.Tokens), asking: New(cfg), tokens: cfg.Tokens}
}

// Run asks again for the tokens that are in use, and after each change, until ctx ends.
func (f *Far) Run(ctx context.Context) {
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() {
		for {
			_, changed := f.store.WatchAll()
			f.asking.Moved(f.store.Index())
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	})
	f.asking.Run(ctx)
}

// Default implements [skerry.Gate].
func (f *Far) Default() skerry.Access { return f.own.Default() }

// Hides implements [skerry.Gate].
func (f *Far) Hides() bool { return f.own.Hides() }

// Changed implements [skerry.Gate].
func (f *Far) Changed() <-chan struct{} { return f.asking.Changed() }

// Identify implements [skerry.Gate].
func (f *Far) Identify(secret string) (skerry.Identity, error) {
	if secret = f.tokens.For(secret); secret != skerry.AnonymousSecret && f.store.Knows(secret) {
		return f.own.Identify(secret)
	}
	return f.asking.Identify(secret)
}

// Ready implements [Holders].
func (f *Far) Ready() error { return f.store.Ready() }

// Index implements [Holders].
func (f *Far) Index() uint64 { return f.store.Index() }

// Defaults implements [Holders].
func (f *Far) Defaults() rules.Defaults { return f.store.Defaults() }

// Prepare asks for the holders of those secrets at once that are not known.
func (f *Far) Prepare(ctx context.Context, tokens []Asked) {
	var unknown []string
	f.asking.mu.Lock()
	now := time.Now()
	for _, t := range tokens {
		if e := f.asking.known[sha256.Sum256([]byte(t.Secret))]; (e == nil || !e.good(now)) && now.After(f.asking.rest) && len(unknown) < maxAsked {
			unknown = append(unknown, t.Secret)
		}
	}
	f.asking.mu.Unlock()
	if len(unknown) > 1 { // one alone is asked for where it is needed
		f.asking.ask(ctx, unknown)
	}
}

// Holder implements [Holders], for this datacenter alone.
func (f *Far) Holder(secret, datacenter string) (*access.Holder, error) {
	if secret = cmp.Or(secret, skerry.AnonymousSecret); secret != skerry.AnonymousSecret && f.store.Knows(secret) {
		return f.store.Holder(secret, datacenter)
	}
	return f.asking.holder(secret)
}

// holder returns the holder of a secret as servers answered last.
func (g *Gate) holder(secret string) (*access.Holder, error) {
	if _, err := g.identify(secret); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.known[sha256.Sum256([]byte(secret))]; e != nil && e.who != nil {
		return e.holder, nil
	}
	return nil, skerry.Errorf(skerry.Unavailable, "no server of the primary datacenter answers for the token")
}

// Describe implements [prometheus.Collector]. The decisions are among those of the store.
func (f *Far) Describe(to chan<- *prometheus.Desc) { f.asking.describe(to) }

// Collect implements [prometheus.Collector].
func (f *Far) Collect(to chan<- prometheus.Metric) { f.asking.collect(to) }
