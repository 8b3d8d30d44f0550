package access

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/files"
)

// Bootstrap makes the first token with every permission, once. Another time needs
// the reset file with the index that the refusal names. An empty secret is made.
func (s *Store) Bootstrap(ctx context.Context, secret string) (*skerry.Token, error) {
	wrong := checkIDs(&skerry.Token{Secret: secret})
	if secret == "" {
		secret = once.ID(ctx)
	}
	t := management(once.ID(ctx), secret, "Bootstrap Token (Global Management)")
	reset := s.resetIndex()
	used := false
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if done := tx.Get(bootstrapKey); done != nil {
			if used = done.Modified == reset; !used {
				return skerry.Errorf(skerry.Denied, "Permission denied: ACL bootstrap no longer allowed (reset index: %d)", done.Modified)
			}
		}
		if wrong != nil {
			return wrong
		}
		if tx.Get(secretKey(secret)) != nil {
			return skerry.Errorf(skerry.Conflict, "Invalid Token: SecretID is already in use")
		}
		s.builtins(tx) // Init may not have come through yet
		n := *t
		s.insert(tx, &n)
		tx.Put(bootstrapKey, []byte(`{}`), 0)
		return nil
	})
	s.gates.drop()
	if err != nil {
		return nil, err
	}
	if used {
		if err := os.Remove(s.o.ResetFile); err != nil {
			s.log.Warn("the bootstrap's reset file cannot be removed; it is without effect from now on", "error", err)
		}
	}
	return there(s.Token(t.Accessor))
}

// resetIndex returns the index in the operator's reset file, or 0.
func (s *Store) resetIndex() uint64 {
	if s.o.ResetFile == "" {
		return 0
	}
	b, err := files.ReadKept(s.o.ResetFile, files.MaxSmall)
	if err != nil {
		return 0
	}
	index, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		s.log.Warn("the bootstrap's reset file holds no index", "file", s.o.ResetFile)
	}
	return index
}

// bootstrapped reports whether a first token was made.
func (s *Store) bootstrapped() bool { return s.kv.Snapshot().Get(bootstrapKey) != nil }
