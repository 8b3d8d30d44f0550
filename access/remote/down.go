package remote

import (
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
)

// Down is the rule for decisions while no server answers: acl.down_policy.
type Down string

const (
	// ExtendCache takes the last answer, however old. A token that was never asked for has the access of names
	// without a rule.
	ExtendCache Down = "extend-cache"
	// AsyncCache is ExtendCache, and takes an old answer also while servers answer: they are asked behind it.
	AsyncCache Down = "async-cache"
	// Allow allows everything but to look at and change tokens and policies.
	Allow Down = "allow"
	// Deny allows nothing.
	Deny Down = "deny"
)

// down notes that no server answered: none is asked for a moment.
func (g *Gate) down(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rest.IsZero() {
		g.cfg.Log.Warn("no server resolves tokens: acl.down_policy decides", "acl.down_policy", string(g.cfg.Down), "error", err)
	}
	g.rest = time.Now().Add(restAfter)
}

// unresolved is shown where the holder of a token is named that no server could tell.
const unresolved = "unknown: no server answers"

// without decides while no server answers. e is the entry of the token, or nil. Called with mu held.
func (g *Gate) without(secret string, e *entry, now time.Time) (skerry.Ruled, error) {
	defaults := g.defaults
	switch {
	case g.cfg.Down == Allow:
		defaults = rules.Open
	case g.cfg.Down == Deny:
		defaults = rules.Strict
	case e != nil:
		return e.result(now)
	}
	h := access.Holder{Accessor: unresolved, Key: "down " + string(g.cfg.Down)}
	if secret == skerry.AnonymousSecret {
		h.Accessor, h.Anonymous = skerry.AnonymousAccessor, true
	}
	return h.Identity(defaults, g.denials), nil
}
