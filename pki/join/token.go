// Package join lets a process with a join token get its first certificate from a server, and renew it later.
package join

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
)

// Token lets processes of a kind join a cluster. It has a private key. Servers keep the public one, so that a copy of
// their store admits no process.
type Token struct {
	Kind    pki.Kind
	ID      ID
	Pin     pki.Pin   // of the authority that signed the certificates of the servers
	Expires time.Time // in whole seconds
	key     ed25519.PrivateKey
}

// ID names a token. It is not secret.
type ID [8]byte

// String returns the ID as 16 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what [ID.String] returns.
func ParseID(s string) (id ID, err error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(id) {
		return ID(b), nil
	}
	return id, skerry.Errorf(skerry.Invalid, "token %q: want the %d digits that `skerry token list` shows", s, 2*len(id))
}

// NewToken makes a token.
func NewToken(kind pki.Kind, pin pki.Pin, expires time.Time) (*Token, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &Token{Kind: kind, Pin: pin, Expires: expires.Truncate(time.Second), key: key}
	if _, err := rand.Read(t.ID[:]); err != nil {
		return nil, err
	}
	return t, nil
}

// Public returns the key by which servers check proofs.
func (t *Token) Public() ed25519.PublicKey { return t.key.Public().(ed25519.PublicKey) }

const (
	// tokenPrefix begins each token. The number is that of the format.
	tokenPrefix = "skj1."
	sumSize     = 4
	tokenSize   = 1 + len(ID{}) + len(pki.Pin{}) + 8 + ed25519.SeedSize + sumSize
)

// kinds are the first bytes of tokens.
var kinds = map[byte]pki.Kind{'a': pki.Agent, 's': pki.Server}

// Secret returns the token as it is given to a process.
func (t *Token) Secret() string {
	b := make([]byte, 0, tokenSize)
	b = append(b, t.Kind[0])
	b = append(b, t.ID[:]...)
	b = append(b, t.Pin[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.Unix()))
	b = append(b, t.key.Seed()...)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum(b)...))
}

// String hides the secret.
func (t *Token) String() string { return fmt.Sprintf("join token %s for a %s", t.ID, t.Kind) }

// sum finds a token that was copied in part.
func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:sumSize]
}

var errToken = skerry.Errorf(skerry.Invalid, "the join token is not whole: it begins with %s and has %d characters; copy it as `skerry token create` printed it",
	tokenPrefix, len(tokenPrefix)+base64.RawURLEncoding.EncodedLen(tokenSize))

// ParseToken reads a secret. Its error does not have the secret in it.
func ParseToken(secret string) (*Token, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(secret), tokenPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) != tokenSize {
		return nil, errToken
	}
	body := b[:tokenSize-sumSize]
	kind, known := kinds[body[0]]
	if !known || !bytes.Equal(sum(body), b[len(body):]) {
		return nil, errToken
	}
	t := &Token{Kind: kind}
	rest := body[1:]
	rest = rest[copy(t.ID[:], rest):]
	rest = rest[copy(t.Pin[:], rest):]
	t.Expires = time.Unix(int64(binary.BigEndian.Uint64(rest)), 0)
	t.key = ed25519.NewKeyFromSeed(rest[8:])
	return t, nil
}
