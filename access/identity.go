package access

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
)

// identity is a token's holder.
type identity struct {
	*rules.Authorizer
	accessor  string
	anonymous bool
	expires   time.Time
	key       string
	denials   *atomic.Uint64 // counts
}

// Allows implements [skerry.Identity].
func (i *identity) Allows(r skerry.Resource, name string, a skerry.Access) bool {
	ok := i.Authorizer.Allows(r, name, a)
	if !ok {
		i.denials.Add(1)
	}
	return ok
}

// AllowsBelow implements [skerry.Identity].
func (i *identity) AllowsBelow(r skerry.Resource, prefix string, a skerry.Access) bool {
	ok := i.Authorizer.AllowsBelow(r, prefix, a)
	if !ok {
		i.denials.Add(1)
	}
	return ok
}

func (i *identity) Accessor() string { return i.accessor }
func (i *identity) Anonymous() bool  { return i.anonymous }

// Expires implements [skerry.Ruled].
func (i *identity) Expires() time.Time { return i.expires }

// RulesKey identifies the holder's rules: holders with the same key have the same
// permissions.
func (i *identity) RulesKey() string { return i.key }

// Holder is a token's holder as one process tells another: all that decisions are made from.
// It has no secret.
type Holder struct {
	Accessor  string
	Anonymous bool      `json:",omitempty"`
	Expires   time.Time `json:",omitzero"` // zero: never
	// Key is the same for holders with the same policies.
	Key      string
	Policies []rules.Policy `json:",omitempty"`
}

// Identity returns the identity of the holder. defaults is the access to names without a rule;
// denials counts the decisions that denied.
func (h *Holder) Identity(defaults rules.Defaults, denials *atomic.Uint64) skerry.Ruled {
	return &identity{
		Authorizer: rules.New(h.Policies, defaults), accessor: h.Accessor, anonymous: h.Anonymous, expires: h.Expires, key: h.Key, denials: denials,
	}
}

// Holder returns the holder of a secret in a datacenter. Its error is that of [Gate.Identify]. Tokens of an agent
// are not known to it, and local ones are in their own datacenter alone. An empty datacenter is that of this server.
func (s *Store) Holder(secret, datacenter string) (*Holder, error) {
	at, in := s.kv.Snapshot(), cmp.Or(datacenter, s.o.Datacenter)
	if secret == skerry.AnonymousSecret {
		key, ps := s.grantedAnonymous(at, in)
		return &Holder{Accessor: skerry.AnonymousAccessor, Anonymous: true, Key: rulesKey(key), Policies: ps}, nil
	}
	t, err := s.token(at, hash(secret))
	if err == nil && t.Local && in != s.o.Datacenter {
		err = s.errUnknown()
	}
	if err != nil {
		s.unknown.Add(1)
		return nil, err
	}
	key, ps := s.granted(at, t, in)
	return &Holder{Accessor: t.Accessor, Expires: t.Expires, Key: rulesKey(key), Policies: ps}, nil
}

// Defaults returns the access to names without a rule.
func (s *Store) Defaults() rules.Defaults { return s.o.Defaults }

// Hides reports whether hidden names look like missing ones: see [skerry.Gate.Hides].
func (s *Store) Hides() bool { return s.o.Hide }

// Index returns the index of the last change that decisions depend on.
func (s *Store) Index() uint64 { return s.kv.Changed(skerry.Below(root)) }

// Ready returns an error while this server has no copy of the tokens: it would refuse them all.
func (s *Store) Ready() error {
	if r := s.kv.Snapshot().Get(policyKey(skerry.GlobalManagement)); r == nil {
		return skerry.Errorf(skerry.Unavailable, "this server has no copy of the tokens and policies yet: it waits for its quorum store")
	}
	return nil
}

// recoveryAccessor is shown where the holder of the recovery token is named.
const recoveryAccessor = "agent-recovery"

// Recovery returns the holder of the recovery token of a node's agent.
func Recovery(node string, denials *atomic.Uint64) skerry.Identity {
	h := Holder{Accessor: recoveryAccessor, Key: recoveryAccessor, Policies: []rules.Policy{{Name: "agent recovery token", Rules: []rules.Rule{
		{Resource: skerry.ResourceAgent, Name: node, Access: skerry.AccessWrite},
		{Resource: skerry.ResourceNode, Prefix: true, Access: skerry.AccessRead},
	}}}}
	return h.Identity(rules.Strict, denials)
}
