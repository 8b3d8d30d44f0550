package access

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
)

// insert writes a token that is valid, with its secret.
func (s *Store) insert(tx skerry.Tx, t *skerry.Token) {
	t.Hash = tokenHash(t)
	put(tx, tokenKey(t.Accessor), storedToken{*t, hashed(t.Secret), s.seal.Seal(t.Secret, t.Accessor)})
	tx.Put(secretKey(t.Secret), []byte(t.Accessor), 0)
	if !t.Expires.IsZero() {
		tx.Put(expiryKey(t.Expires, t.Accessor), nil, 0)
	}
}

func tokenHash(t *skerry.Token) []byte {
	return digest(t.Description, t.Local, t.Method, t.Expires, ids(t.Policies), ids(t.Roles), t.Services, t.Nodes, t.Templates)
}

func ids(links []skerry.Link) []string {
	out := make([]string, len(links))
	for i, l := range links {
		out[i] = l.ID
	}
	return out
}

// remove deletes a token. Only the stored fields of t are needed.
func (s *Store) remove(tx skerry.Tx, t *skerry.Token) {
	if st := read[storedToken](tx, tokenKey(t.Accessor)); st != nil {
		tx.Delete(secretPrefix + hexOf(st.SecretHash))
	}
	if !t.Expires.IsZero() {
		tx.Delete(expiryKey(t.Expires, t.Accessor))
	}
	tx.Delete(tokenKey(t.Accessor))
}

// Token returns the token, or nil. An expired one is not there any more. The
// names of its policies and roles are filled in; links to removed ones are left out.
func (s *Store) Token(accessor string) *skerry.Token {
	at := s.kv.Snapshot()
	r := at.Get(tokenKey(accessor))
	if r == nil {
		return nil
	}
	return s.shown(at, r)
}

func (s *Store) shown(at getter, r *skerry.Record) *skerry.Token {
	st := decode[storedToken](r)
	if st == nil || st.Expired(time.Now()) {
		return nil
	}
	t := &st.Token
	t.Secret, _ = s.seal.Open(st.Sealed, t.Accessor)
	t.Policies = linked(at, t.Policies, policyName)
	t.Roles = linked(at, t.Roles, roleName)
	return t
}

// TokenBySecret returns the token of a secret, or nil.
func (s *Store) TokenBySecret(secret string) *skerry.Token {
	r := s.kv.Snapshot().Get(secretKey(secret))
	if r == nil {
		return nil
	}
	t := s.Token(string(r.Value))
	if t != nil {
		t.Secret = secret
	}
	return t
}

// Tokens returns all tokens, ordered by accessor, and the index of the list.
func (s *Store) Tokens() (out []*skerry.Token, index uint64) {
	index = s.kv.Changed(skerry.Below(tokenPrefix))
	at := s.kv.Snapshot()
	for r := range at.All(skerry.Below(tokenPrefix), "") {
		if t := s.shown(at, r); t != nil {
			out = append(out, t)
		}
	}
	return out, index
}

// CreateToken makes a token. Accessor and secret are made unless they are given;
// ttl, when it is not 0, stands for Expires.
func (s *Store) CreateToken(ctx context.Context, t skerry.Token, ttl time.Duration) (*skerry.Token, error) {
	if err := checkIDs(&t); err != nil {
		return nil, err
	}
	if once.Replays(ctx) {
		return s.create(ctx, t)
	}
	if err := setExpiry(&t, ttl, s.o.MinTTL, time.Now().UTC()); err != nil {
		return nil, err
	}
	return s.create(ctx, t)
}

func (s *Store) create(ctx context.Context, t skerry.Token) (*skerry.Token, error) {
	if s.o.Primary != "" && !s.o.CopyTokens {
		return nil, skerry.Errorf(skerry.Invalid, "Local tokens are disabled")
	}
	if s.o.Primary != "" && !t.Local && !once.Replays(ctx) {
		return nil, skerry.Errorf(skerry.Invalid, "Invalid Token: only local tokens are made in this datacenter: the others in %s", s.o.Primary)
	}
	if t.Accessor == "" {
		t.Accessor = once.ID(ctx)
	}
	if t.Secret == "" {
		t.Secret = once.ID(ctx)
	}
	t.Made = time.Now().UTC()
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if tx.Get(tokenKey(t.Accessor)) != nil {
			return skerry.Errorf(skerry.Conflict, "Invalid Token: AccessorID is already in use")
		}
		if tx.Get(secretKey(t.Secret)) != nil {
			return skerry.Errorf(skerry.Conflict, "Invalid Token: SecretID is already in use")
		}
		n := t
		if err := s.resolve(tx, &n.Grants, n.Local); err != nil {
			return err
		}
		var err error
		if n.Roles, err = resolveLinks(tx, n.Roles, roleByName, roleByID, "role"); err != nil {
			return err
		}
		s.insert(tx, &n)
		return nil
	})
	s.gates.drop()
	if err != nil {
		return nil, err
	}
	return there(s.Token(t.Accessor))
}

func checkIDs(t *skerry.Token) error {
	for _, id := range []struct{ name, value string }{{"AccessorID", t.Accessor}, {"SecretID", t.Secret}} {
		if id.value == "" {
			continue
		}
		if _, err := uuid.Parse(id.value); err != nil {
			return skerry.Errorf(skerry.Invalid, "Invalid Token: %s - not a valid UUID", id.name)
		}
		if reserved(id.value) {
			return skerry.Errorf(skerry.Invalid, "Invalid Token: %s - UUIDs with the prefix %q are reserved", id.name, reservedPrefix)
		}
	}
	return nil
}

const reservedPrefix = "00000000-0000-0000-0000-0000000000"

func reserved(id string) bool {
	return len(id) > len(reservedPrefix) && id[:len(reservedPrefix)] == reservedPrefix
}

func setExpiry(t *skerry.Token, ttl, least time.Duration, now time.Time) error {
	switch {
	case ttl != 0 && !t.Expires.IsZero():
		return skerry.Errorf(skerry.Invalid, "Token Expiration TTL and Expiration Time cannot both be set")
	case ttl < 0:
		return skerry.Errorf(skerry.Invalid, "Token Expiration TTL '%s' should be > 0", ttl)
	case ttl > 0:
		t.Expires = now.Add(ttl)
	}
	if t.Expires.IsZero() {
		return nil
	}
	switch life := t.Expires.Sub(now); {
	case life < least:
		return skerry.Errorf(skerry.Invalid, "ExpirationTime cannot be less than %s in the future (was %s)", least, life)
	case life > maxTTL:
		return skerry.Errorf(skerry.Invalid, "ExpirationTime cannot be more than %s in the future (was %s)", maxTTL, life)
	}
	return nil
}

// UpdateToken replaces the grants and the description of the token with this accessor.
// Immutable fields may be empty or unchanged.
func (s *Store) UpdateToken(ctx context.Context, t skerry.Token) (*skerry.Token, error) {
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		st := read[storedToken](tx, tokenKey(t.Accessor))
		if t.Accessor == skerry.AnonymousAccessor && broken(tx, tokenKey(t.Accessor)) {
			// It cannot be deleted, and all that it grants is replaced.
			st = &storedToken{Token: anonymousToken(), SecretHash: hashed(skerry.AnonymousSecret), Sealed: s.seal.Seal(skerry.AnonymousSecret, t.Accessor)}
		}
		if st == nil || st.Expired(time.Now()) {
			return skerry.Errorf(skerry.NotFound, "Cannot find token %q", t.Accessor)
		}
		n := st.Token
		switch {
		case t.Secret != "" && hexOf(hashed(t.Secret)) != hexOf(st.SecretHash):
			return skerry.Errorf(skerry.Invalid, "Changing a token's SecretID is not permitted")
		case t.Local != n.Local && n.Accessor != skerry.AnonymousAccessor:
			return skerry.Errorf(skerry.Invalid, "Cannot toggle local mode of %s", t.Accessor)
		case t.Method != "" && t.Method != n.Method:
			return skerry.Errorf(skerry.Invalid, "Cannot change AuthMethod of %s", t.Accessor)
		case !t.Expires.IsZero() && !t.Expires.Equal(n.Expires):
			return skerry.Errorf(skerry.Invalid, "Cannot change expiration time of %s", t.Accessor)
		}
		n.Description, n.Grants = t.Description, t.Grants
		if err := s.resolve(tx, &n.Grants, n.Local); err != nil {
			return err
		}
		var err error
		if n.Roles, err = resolveLinks(tx, t.Roles, roleByName, roleByID, "role"); err != nil {
			return err
		}
		n.Hash = tokenHash(&n)
		put(tx, tokenKey(n.Accessor), storedToken{n, st.SecretHash, st.Sealed})
		return nil
	})
	s.gates.drop()
	if err != nil {
		return nil, err
	}
	return there(s.Token(t.Accessor))
}

// CloneToken makes a token that grants the same under another secret.
func (s *Store) CloneToken(ctx context.Context, accessor, description string) (*skerry.Token, error) {
	from := s.Token(accessor)
	switch {
	case once.Replays(ctx):
		return s.create(ctx, skerry.Token{})
	case from == nil:
		return nil, skerry.Errorf(skerry.NotFound, "Cannot find token %q", accessor)
	case accessor == skerry.AnonymousAccessor:
		return nil, skerry.Errorf(skerry.Invalid, "Cannot clone the anonymous token")
	case from.Method != "":
		return nil, skerry.Errorf(skerry.Invalid, "Cannot clone a token created from an auth method")
	}
	t := skerry.Token{Description: description, Grants: from.Grants, Roles: from.Roles, Local: from.Local, Expires: from.Expires}
	if description == "" {
		t.Description = from.Description
	}
	return s.create(ctx, t)
}

// DeleteToken removes a token. An error of kind NotFound means that there is none.
func (s *Store) DeleteToken(ctx context.Context, accessor string) error {
	if accessor == skerry.AnonymousAccessor {
		return skerry.Errorf(skerry.Invalid, "Delete operation not permitted on the anonymous token")
	}
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if broken(tx, tokenKey(accessor)) {
			dropLinks(tx, secretPrefix, accessor)
			tx.Delete(tokenKey(accessor))
			return nil
		}
		t := read[skerry.Token](tx, tokenKey(accessor))
		if t == nil {
			return skerry.Errorf(skerry.NotFound, "Cannot find token to delete")
		}
		s.remove(tx, t)
		return nil
	})
	s.gates.drop()
	return err
}
