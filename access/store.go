// Package access keeps tokens, policies, roles and auth methods in the quorum store, and
// decides what a token permits. See DESIGN.md.
package access

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
)

// The bounds of a token's life, as in Consul.
const (
	minTTL = time.Minute
	maxTTL = 24 * time.Hour
)

// Options configures a Store.
type Options struct {
	KV         skerry.KV
	Datacenter string
	Node       string // the name of this server's node
	// Key seals the secrets that are shown again to callers that may write tokens: 32
	// bytes. Without one a new key is made, and older secrets cannot be shown.
	Key []byte
	// InitialManagement is the secret of a token that may do everything; it is made
	// when it is not there. Empty: bootstrap makes the first one.
	InitialManagement string
	// ResetFile allows another bootstrap: it holds the reset index that a refused
	// one names, and is removed by it. Empty: never.
	ResetFile string
	// MinTTL is the shortest life of a token that ends; default a minute.
	MinTTL time.Duration
	// Defaults is the access to names without a rule: one of the presets.
	Defaults rules.Defaults
	// Hide makes hidden names look like missing ones: see [skerry.Gate.Hides].
	Hide bool
	// Primary is the datacenter that decides on policies, roles and tokens that are not local, if that is another one:
	// then those that are here are a copy.
	Primary string
	// CopyTokens is whether the tokens are a copy too. If not, none is kept here but local ones.
	CopyTokens bool
	// Verifiers are the kinds of auth methods by their type.
	Verifiers map[string]Verifier
	Log       *slog.Logger
}

// Store keeps tokens and their grants. All methods may be called from many goroutines.
// Errors are of kind [skerry.Invalid], [skerry.NotFound], [skerry.Conflict],
// [skerry.Denied], or those of [skerry.KV].
type Store struct {
	o       Options
	kv      skerry.KV
	seal    Sealer
	log     *slog.Logger
	gates   caches
	digests digests

	denials, unknown atomic.Uint64 // see Describe
	loginFaults      sync.Map      // method → time of the last failure that was logged
}

// New returns a store. Init must have returned before a token can be found.
func New(o Options) (*Store, error) {
	if len(o.Key) == 0 {
		o.Key = make([]byte, 32)
		rand.Read(o.Key) // it never fails
	}
	seal, err := NewSealer(o.Key)
	if err != nil {
		return nil, err
	}
	if o.MinTTL == 0 {
		o.MinTTL = minTTL
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{o: o, kv: o.KV, seal: seal, log: o.Log}, nil
}

// Init writes the built-in policies, the anonymous token and the initial management
// token. It does not change existing ones. Where another datacenter decides it writes nothing: they come from there.
func (s *Store) Init(ctx context.Context) error {
	if s.o.Primary != "" {
		return nil
	}
	_, err := s.kv.Update(ctx, func(tx skerry.Tx) error {
		s.builtins(tx)
		secret := s.o.InitialManagement
		if secret == "" || tx.Get(secretKey(secret)) != nil && !broken(tx, secretKey(secret)) {
			return nil
		}
		s.insert(tx, management(uuid.NewString(), secret, "Initial Management Token"))
		tx.Put(bootstrapKey, []byte(`{}`), 0)
		return nil
	})
	s.gates.drop()
	return err
}

// builtins writes the built-in policies and the anonymous token where they are not there.
func (s *Store) builtins(tx skerry.Tx) {
	for _, p := range rules.Builtin() {
		if r := tx.Get(policyKey(p.ID)); r == nil || r.Damage != nil {
			p.Hash = policyHash(&p)
			put(tx, policyKey(p.ID), &p)
			tx.Put(policyNameKey(p.Name), []byte(p.ID), 0)
		}
	}
	// A damaged one denies everything until it is updated, and must not keep the rest.
	if broken(s.kv.Snapshot(), tokenKey(skerry.AnonymousAccessor)) {
		return
	}
	if tx.Get(tokenKey(skerry.AnonymousAccessor)) == nil {
		t := anonymousToken()
		s.insert(tx, &t)
	}
}

func anonymousToken() skerry.Token {
	return skerry.Token{Accessor: skerry.AnonymousAccessor, Secret: skerry.AnonymousSecret, Description: "Anonymous Token", Made: time.Now().UTC()}
}

func management(accessor, secret, description string) *skerry.Token {
	return &skerry.Token{
		Accessor: accessor, Secret: secret, Description: description, Made: time.Now().UTC(),
		Grants: skerry.Grants{Policies: []skerry.Link{{ID: skerry.GlobalManagement}}},
	}
}

// reapEvery is how often expired tokens are removed. They are refused from the
// moment of their end; this is only tidying.
const reapEvery = 30 * time.Second

// initEvery is how often Init is tried while the store cannot be written.
const initEvery = 250 * time.Millisecond

// Run makes sure that Init succeeds, and removes expired tokens until ctx ends.
func (s *Store) Run(ctx context.Context) {
	told := false
	for err := s.Init(ctx); err != nil && ctx.Err() == nil; err = s.Init(ctx) {
		if !told {
			s.log.Info("the built-in tokens and policies wait for the store", "error", err)
			told = true
		}
		timer := time.NewTimer(initEvery)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.reap(ctx, certainly(start, time.Now())); err != nil {
			s.log.Warn("expired tokens cannot be removed now", "error", err)
		}
	}
}

// certainly is the time that it is by the wall clock and by the monotonic clock since
// start: a wall clock that was set wrong for a moment must not remove records for good.
func certainly(start, now time.Time) time.Time {
	wall, elapsed := now.Round(0), start.Add(now.Sub(start)).Round(0)
	if elapsed.Before(wall) {
		return elapsed
	}
	return wall
}

// reapAtOnce bounds one change.
const reapAtOnce = 100

func (s *Store) reap(ctx context.Context, now time.Time) error {
	for {
		var due []string
		snapshot := s.kv.Snapshot()
		for r := range snapshot.All(skerry.Below(expiryPrefix), "") {
			at, accessor := splitExpiry(r.Key)
			if at.After(now) || len(due) == reapAtOnce {
				break
			}
			if broken(snapshot, tokenKey(accessor)) {
				continue // it cannot be used; the others are removed
			}
			if t := read[skerry.Token](snapshot, tokenKey(accessor)); s.o.Primary != "" && t != nil && !t.Local {
				continue // the primary datacenter removes it
			}
			due = append(due, accessor)
		}
		if len(due) == 0 {
			return nil
		}
		if _, err := s.kv.Update(ctx, func(tx skerry.Tx) error {
			for _, accessor := range due {
				if t := read[skerry.Token](tx, tokenKey(accessor)); t != nil && t.Expired(now) {
					s.remove(tx, t)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		s.gates.drop()
		s.log.Debug("removed expired tokens", "count", len(due))
	}
}

// getter is the common part of a Tx and a Snapshot.
type getter interface {
	Get(key string) *skerry.Record
}

// read returns the decoded record of a key, or nil.
func read[T any](g getter, key string) *T {
	r := g.Get(key)
	if r == nil {
		return nil
	}
	return decode[T](r)
}

// there returns what a change made, or an error if it was removed meanwhile.
func there[T any](v *T) (*T, error) {
	if v == nil {
		return nil, skerry.Errorf(skerry.NotFound, "it was made, and removed again at once")
	}
	return v, nil
}

// decode returns a record's value, or nil when it is not ours or damaged. A caller
// that must tell damage from absence asks broken.
func decode[T any](r *skerry.Record) *T {
	v := new(T)
	if r.Damage != nil || json.Unmarshal(r.Value, v) != nil {
		return nil
	}
	if s, ok := any(v).(stamped); ok {
		s.SetStamp(skerry.Stamp{Created: r.Created, Modified: r.Modified})
	}
	return v
}

// broken reports whether a key's record is there and damaged.
func broken(g getter, key string) bool {
	r := g.Get(key)
	return r != nil && r.Damage != nil
}

// dropLinks removes the keys below a prefix that lead to an ID, and those whose value
// cannot be read: the links of a damaged record are unknown.
func dropLinks(tx skerry.Tx, prefix, id string) {
	for _, r := range tx.All(prefix) {
		if r.Damage != nil || string(r.Value) == id {
			tx.Delete(r.Key)
		}
	}
}

// Sound returns why a thing of a kind (token, policy, role, auth method, binding
// rule: see WatchACL) cannot be read, or with an empty id why any cannot.
func (s *Store) Sound(kind, id string) error {
	at, prefix := s.kv.Snapshot(), root+kind+"/"
	if id != "" {
		if r := at.Get(prefix + id); r != nil {
			return r.Damage
		}
		return nil
	}
	for r := range at.All(skerry.Below(prefix), "") {
		if r.Damage != nil {
			return r.Damage
		}
	}
	return nil
}

// stamped is a value with the indexes of its record.
type stamped interface{ SetStamp(skerry.Stamp) }

func put(tx skerry.Tx, key string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of texts: it cannot be
	}
	tx.Put(key, b, 0)
}
