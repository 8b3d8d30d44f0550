package access

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
)

// caches holds the identities computed from the tokens. Every change of the store drops
// them.
type caches struct {
	now atomic.Pointer[cache]
	// compiled are authorizers by their rules. They outlive a change, since it touches
	// few tokens.
	mu       sync.Mutex
	compiled map[string]*rules.Authorizer
	parsed   map[string][]rules.Rule
}

// cache is the identities at one state of the store.
type cache struct {
	changed    <-chan struct{} // closed by the next change
	identities sync.Map        // [32]byte → *identity
	count      atomic.Int32
	anonymous  atomic.Pointer[identity]
}

// The bounds of the caches. Unknown secrets are never kept.
const (
	maxIdentities = 100_000
	maxCompiled   = 10_000
)

func (c *caches) drop() { c.now.Store(nil) }

// cache returns the present cache. It is current: a change closes its channel before its
// caller gets the result.
func (s *Store) cache() *cache {
	if c := s.gates.now.Load(); c != nil {
		select {
		case <-c.changed:
		default:
			return c
		}
	}
	_, changed := s.kv.Watch(skerry.Below(root))
	c := &cache{changed: changed}
	s.gates.now.Store(c)
	return c
}

// errUnknown is the answer to a secret that is not known.
func (s *Store) errUnknown() error {
	if !s.bootstrapped() {
		return skerry.Errorf(skerry.Denied, "ACL system must be bootstrapped before making any requests that require authorization: ACL not found")
	}
	return skerry.Errorf(skerry.Denied, "ACL not found")
}

// identify returns the holder of the secret with this hash.
func (s *Store) identify(h [32]byte) (*identity, error) {
	c := s.cache()
	if v, ok := c.identities.Load(h); ok {
		i := v.(*identity)
		if !i.expires.IsZero() && !time.Now().Before(i.expires) {
			return nil, s.errUnknown()
		}
		return i, nil
	}
	at := s.kv.Snapshot()
	t, err := s.token(at, h)
	if err != nil {
		return nil, err
	}
	i := s.holder(at, t)
	if c.count.Add(1) <= maxIdentities {
		c.identities.Store(h, i)
	}
	return i, nil
}

// token returns the token whose secret has this hash.
func (s *Store) token(at getter, h [32]byte) (*skerry.Token, error) {
	r := at.Get(secretPrefix + hex.EncodeToString(h[:]))
	if r == nil {
		return nil, s.errUnknown()
	}
	if r.Damage != nil {
		return nil, r.Damage
	}
	if t := at.Get(tokenKey(string(r.Value))); t != nil && t.Damage != nil {
		return nil, t.Damage
	}
	st := read[storedToken](at, tokenKey(string(r.Value)))
	if st == nil || s.elsewhere() && !st.Local || st.Expired(time.Now()) || subtle.ConstantTimeCompare(st.SecretHash, h[:]) != 1 {
		return nil, s.errUnknown()
	}
	return &st.Token, nil
}

// elsewhere reports whether this datacenter has local tokens alone: the others are neither decided nor copied here.
func (s *Store) elsewhere() bool { return s.o.Primary != "" && !s.o.CopyTokens }

// Knows reports whether the secret is that of a local token.
func (s *Store) Knows(secret string) bool {
	at := s.kv.Snapshot()
	r := at.Get(secretKey(secret))
	if r == nil {
		return false
	}
	t := read[skerry.Token](at, tokenKey(text(r)))
	return t != nil && t.Local
}

// anonymous returns the identity without a token.
func (s *Store) anonymous() *identity {
	c := s.cache()
	if i := c.anonymous.Load(); i != nil {
		return i
	}
	key, ps := s.grantedAnonymous(s.kv.Snapshot(), s.o.Datacenter)
	i := &identity{Authorizer: s.compile(key, ps), accessor: skerry.AnonymousAccessor, anonymous: true, key: rulesKey(key), denials: &s.denials}
	c.anonymous.Store(i)
	return i
}

// grantedAnonymous is granted for callers without a token.
func (s *Store) grantedAnonymous(at getter, datacenter string) (key string, ps []rules.Policy) {
	const damaged = "damaged anonymous token"
	if broken(at, tokenKey(skerry.AnonymousAccessor)) {
		return damaged, []rules.Policy{{Name: damaged, Rules: rules.DenyAll}}
	}
	t := &skerry.Token{}
	if st := read[storedToken](at, tokenKey(skerry.AnonymousAccessor)); st != nil {
		t = &st.Token
	}
	return s.granted(at, t, datacenter)
}

// holder returns the holder of a token.
func (s *Store) holder(at getter, t *skerry.Token) *identity {
	key, ps := s.granted(at, t, s.o.Datacenter)
	return &identity{Authorizer: s.compile(key, ps), accessor: t.Accessor, expires: t.Expires, key: rulesKey(key), denials: &s.denials}
}

func rulesKey(key string) string { return hexOf(digest(key))[:24] }

// granted works out the grants of a token in a datacenter: its own policies and identities, and those of
// its roles. Tokens with the same key have the same policies.
func (s *Store) granted(at getter, t *skerry.Token, datacenter string) (key string, ps []rules.Policy) {
	// The rules of a damaged record are unknown: it denies everything.
	deny := func(what string) {
		key += "damaged " + what + " "
		ps = append(ps, rules.Policy{Name: "damaged " + what, Rules: rules.DenyAll})
	}
	grant := func(g skerry.Grants) {
		for _, l := range g.Policies {
			if broken(at, policyKey(l.ID)) {
				deny("policy " + l.ID)
				continue
			}
			p := read[skerry.Policy](at, policyKey(l.ID))
			if p == nil || !in(p.Datacenters, datacenter) {
				continue
			}
			key += fmt.Sprintf("%s@%d ", p.ID, p.Modified)
			ps = append(ps, rules.Policy{Name: p.Name, Rules: s.parse(p)})
		}
		for _, p := range rules.Granted(g, datacenter) {
			key += fmt.Sprintf("%q ", p.Name)
			ps = append(ps, p)
		}
	}
	grant(t.Grants)
	for _, l := range t.Roles {
		if broken(at, roleKey(l.ID)) {
			deny("role " + l.ID)
		} else if r := read[skerry.Role](at, roleKey(l.ID)); r != nil {
			grant(r.Grants)
		}
	}
	return key, ps
}

func in(datacenters []string, datacenter string) bool {
	for _, d := range datacenters {
		if d == datacenter {
			return true
		}
	}
	return len(datacenters) == 0
}

// parse returns a policy's rules, read once per version.
func (s *Store) parse(p *skerry.Policy) []rules.Rule {
	key := fmt.Sprintf("%s@%d", p.ID, p.Modified)
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	if rs, ok := s.gates.parsed[key]; ok {
		return rs
	}
	rs, err := rules.Parse(p.Rules)
	if err != nil {
		// It was read when it was written; a newer version may have written more. The
		// denials of an unreadable policy must not be guessed.
		s.log.Error("a stored policy cannot be read: it denies everything", "policy", p.Name, "error", err)
		rs = rules.DenyAll
	}
	if s.gates.parsed == nil || len(s.gates.parsed) >= maxCompiled {
		s.gates.parsed = map[string][]rules.Rule{}
	}
	s.gates.parsed[key] = rs
	return rs
}

func (s *Store) compile(key string, ps []rules.Policy) *rules.Authorizer {
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	if a := s.gates.compiled[key]; a != nil {
		return a
	}
	a := rules.New(ps, s.o.Defaults)
	if s.gates.compiled == nil || len(s.gates.compiled) >= maxCompiled {
		s.gates.compiled = map[string]*rules.Authorizer{}
	}
	s.gates.compiled[key] = a
	return a
}

// Gate resolves a token to an identity. It implements [skerry.Gate].
type Gate struct {
	s        *Store
	agent    *AgentTokens
	recovery skerry.Identity
}

// NewGate returns the gate of a store. agent may be nil.
func NewGate(s *Store, agent *AgentTokens) *Gate {
	return &Gate{s: s, agent: agent, recovery: Recovery(s.o.Node, &s.denials)}
}

// Default implements [skerry.Gate].
func (g *Gate) Default() skerry.Access {
	return g.s.o.Defaults[skerry.ResourceKey]
}

// Hides implements [skerry.Gate].
func (g *Gate) Hides() bool { return g.s.o.Hide }

// Changed implements [skerry.Gate].
func (g *Gate) Changed() <-chan struct{} { return g.s.cache().changed }

// Identify implements [skerry.Gate]. Requests without a token have the agent's default
// one, or else are anonymous. The recovery token works without the store.
func (g *Gate) Identify(secret string) (skerry.Identity, error) {
	if secret = g.agent.For(secret); secret == skerry.AnonymousSecret {
		return g.s.anonymous(), nil
	}
	h := hash(secret)
	if g.agent.recovers(h) {
		return g.recovery, nil
	}
	i, err := g.s.identify(h)
	if err != nil {
		g.s.unknown.Add(1)
		return nil, err // not i: a nil *identity is not a nil Identity
	}
	return i, nil
}
