package remote

import (
	"context"
	"crypto/sha256"
	"maps"
	"time"

	"github.com/skerryhq/skerry"
)

const (
	refreshEvery = 250 * time.Millisecond
	// refreshAfter is the age at which a token that is in use is asked for again.
	refreshAfter = 2 * keep / 3
)

// Moved notes the index of the tokens and policies at the server that this agent is attached to. If it is another one
// than before, the tokens that are in use are asked for again at once.
func (g *Gate) Moved(index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if index == g.index {
		return
	}
	g.index, g.due = index, true
	now := time.Now()
	for _, e := range g.known {
		if e.moved.IsZero() {
			e.moved = now
		}
	}
	g.signal() // requests that wait have tokens that are not in use: they are to be looked at
}

// signal ends the waiting for a change. Called with mu held.
func (g *Gate) signal() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Run asks again for the tokens that are in use until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	t := time.NewTicker(refreshEvery)
	defer t.Stop()
	looked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		g.mu.Lock()
		idle := now.Before(g.rest) || !g.due && now.Sub(looked) < time.Second
		g.mu.Unlock()
		if idle {
			continue
		}
		looked = now
		g.refresh(ctx)
	}
}

// refresh asks for the tokens that are in use and whose answer is old.
func (g *Gate) refresh(ctx context.Context) {
	for secrets := g.old(); len(secrets) > 0; {
		n := min(len(secrets), maxAsked)
		if g.ask(ctx, secrets[:n]) != nil {
			g.mu.Lock()
			g.due = true
			g.mu.Unlock()
			return
		}
		secrets = secrets[n:]
	}
}

// old returns the tokens that are due, and forgets those that are refused for long.
func (g *Gate) old() (secrets []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = false
	now := time.Now()
	for key, e := range g.known {
		switch {
		case e.who == nil && now.Sub(e.at) >= keepUnknown:
			delete(g.known, key)
		case e.who != nil && now.Sub(e.used) < keep && (!e.moved.IsZero() || now.Sub(e.at) >= refreshAfter):
			secrets = append(secrets, e.secret)
		}
	}
	return secrets
}

// ask asks a server for tokens, and keeps the answers. It must not be called with mu held.
func (g *Gate) ask(ctx context.Context, secrets []string) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for len(secrets) > 0 {
		q := g.question(secrets)
		g.asked.Add(1)
		a, err := g.cfg.Ask(ctx, q)
		if err == nil && (len(a.Found) == 0 || len(a.Found) > len(secrets)) {
			err = skerry.Errorf(skerry.Invalid, "a server answered for %d tokens in place of %d", len(a.Found), len(secrets))
		}
		if err != nil {
			g.failed.Add(1)
			g.down(err)
			return err
		}
		secrets = append(g.take(q, a), secrets[len(a.Found):]...)
	}
	return nil
}

func (g *Gate) question(secrets []string) (q Question) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.Datacenter = g.cfg.Datacenter
	for _, s := range secrets {
		one := Asked{Secret: s}
		if e := g.known[sha256.Sum256([]byte(s))]; e != nil && e.who != nil {
			one.Key = e.who.RulesKey()
		}
		q.Tokens = append(q.Tokens, one)
	}
	return q
}

// take keeps an answer. It returns the tokens that are to be asked for again: the answer builds on policies that are
// not kept any more.
func (g *Gate) take(q Question, a Answer) (again []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.rest.IsZero() {
		g.rest = time.Time{}
		g.cfg.Log.Info("a server resolves tokens again")
	}
	changed := g.agree(a)
	for n, f := range a.Found {
		secret := q.Tokens[n].Secret
		e := g.entry(secret, now)
		was := e.who
		switch {
		case f.Refused != "":
			e.who, e.err = nil, skerry.Errorf(skerry.Denied, "%s", f.Refused)
		case f.Holder != nil:
			e.who, e.err = f.Holder.Identity(g.defaults, g.denials), nil
			e.holder = f.Holder
		case was == nil:
			delete(g.known, sha256.Sum256([]byte(secret)))
			again = append(again, secret)
			continue
		}
		if was != nil && (e.who == nil || e.who.RulesKey() != was.RulesKey()) {
			changed = true
		}
		e.at, e.moved = now, time.Time{}
		if g.index != 0 && a.Index != g.index { // of a server that is behind, or before the agent heard of the change
			e.moved, g.due = now, true
		}
	}
	if changed {
		g.signal()
	}
	return again
}

// agree takes over the servers' access to names without a rule. All identities are made anew if it is another one.
func (g *Gate) agree(a Answer) (changed bool) {
	if !g.told && (!maps.Equal(a.Defaults, g.cfg.Defaults) || a.Hides != g.cfg.Hide) {
		g.told = true
		g.cfg.Log.Warn("acl.default_policy or acl.preset is not that of the servers, whose word holds: set it to the same here and at the servers")
	}
	if maps.Equal(a.Defaults, g.defaults) {
		return false
	}
	g.defaults = a.Defaults
	changed = len(g.known) > 0
	clear(g.known)
	return changed
}

// entry returns the entry of a secret, and makes room for a new one: by a refused token, or the one
// that was used the longest ago.
func (g *Gate) entry(secret string, now time.Time) *entry {
	key := sha256.Sum256([]byte(secret))
	if e := g.known[key]; e != nil {
		return e
	}
	if len(g.known) >= maxKnown {
		var worst [32]byte
		var least *entry
		for k, e := range g.known {
			if least == nil || e.who == nil && least.who != nil || (e.who == nil) == (least.who == nil) && e.used.Before(least.used) {
				worst, least = k, e
			}
		}
		delete(g.known, worst)
	}
	e := &entry{secret: secret, used: now}
	g.known[key] = e
	return e
}
