package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// The keys of the records, in JSON unless noted otherwise.
const (
	root           = "acl/"
	tokenPrefix    = root + "token/"       // accessor → storedToken
	secretPrefix   = root + "secret/"      // hash of the secret → accessor
	expiryPrefix   = root + "expiry/"      // seconds/accessor → nothing
	policyPrefix   = root + "policy/"      // ID → skerry.Policy
	policyNames    = root + "policy-name/" // name → ID
	rolePrefix     = root + "role/"        // ID → skerry.Role
	roleNames      = root + "role-name/"   // name → ID
	methodPrefix   = root + "method/"      // name → skerry.AuthMethod
	bindingPrefix  = root + "binding/"     // ID → skerry.BindingRule
	bootstrapKey   = root + "bootstrap"    // there: a first token was made
	copiedKey      = root + "copied"       // CopyState: of the copy of the primary datacenter
	lengthOfMoment = 12                    // digits of seconds
)

func tokenKey(accessor string) string  { return tokenPrefix + accessor }
func policyKey(id string) string       { return policyPrefix + id }
func policyNameKey(name string) string { return policyNames + name }
func roleKey(id string) string         { return rolePrefix + id }
func roleNameKey(name string) string   { return roleNames + name }
func methodKey(name string) string     { return methodPrefix + name }
func bindingKey(id string) string      { return bindingPrefix + id }
func secretKey(secret string) string   { return secretPrefix + hex.EncodeToString(hashed(secret)) }

func expiryKey(at time.Time, accessor string) string {
	return expiryPrefix + fmt.Sprintf("%0*d", lengthOfMoment, at.Unix()) + "/" + accessor
}

// splitExpiry returns the second in which the token has certainly ended.
func splitExpiry(key string) (at time.Time, accessor string) {
	moment, accessor, _ := strings.Cut(strings.TrimPrefix(key, expiryPrefix), "/")
	seconds, _ := strconv.ParseInt(moment, 10, 64)
	return time.Unix(seconds+1, 0), accessor
}

// hashed returns the hash that is stored of a secret. The prefix makes it differ from
// hashes of the same word elsewhere.
func hashed(secret string) []byte {
	h := hash(secret)
	return h[:]
}

func hash(secret string) [sha256.Size]byte {
	var buf [96]byte // most secrets fit: then nothing is allocated
	b := append(buf[:0], "skerry token "...)
	return sha256.Sum256(append(b, secret...))
}

// storedToken is a token as it is written: its secret only hashed and sealed.
type storedToken struct {
	skerry.Token
	SecretHash []byte `json:"secret_hash"`
	Sealed     []byte `json:"sealed"`
}

// Sealer encrypts secrets with AES-GCM.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns the sealer with a key of 32 bytes.
func NewSealer(key []byte) (Sealer, error) {
	if len(key) != 32 {
		return Sealer{}, skerry.Errorf(skerry.Invalid, "the key that seals secrets has %d bytes; it must have 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return Sealer{}, err
	}
	aead, err := cipher.NewGCM(block)
	return Sealer{aead}, err
}

// Seal binds the secret to the ID of its record: moved to another it does not open.
func (s Sealer) Seal(secret, id string) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce) // it never fails
	return s.aead.Seal(nonce, nonce, []byte(secret), []byte(id))
}

// Open returns the secret. ok is false when it was sealed with another key or for
// another ID.
func (s Sealer) Open(sealed []byte, id string) (secret string, ok bool) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return "", false
	}
	b, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(id))
	return string(b), err == nil
}

// digest is the hash of a record's grants, as the API shows it.
func digest(parts ...any) []byte {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain structs of texts: it cannot be
	}
	h := sha256.Sum256(b)
	return h[:]
}
