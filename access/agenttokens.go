package access

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
)

// The tokens that an agent acts with itself.
const (
	DefaultToken     = "default" // for callers that bring none
	AgentToken       = "agent"   // for the agent's own requests
	RecoveryToken    = "agent_recovery"
	ReplicationToken = "replication"
	FileToken        = "config_file_service_registration"
	DNSToken         = "dns"
)

// kinds are the names at which a token may be set, old ones too.
var kinds = map[string]string{
	DefaultToken: DefaultToken, AgentToken: AgentToken, RecoveryToken: RecoveryToken, ReplicationToken: ReplicationToken, FileToken: FileToken, DNSToken: DNSToken,
	"acl_token": DefaultToken, "acl_agent_token": AgentToken, "agent_master": RecoveryToken, "acl_agent_master_token": RecoveryToken,
	"acl_replication_token": ReplicationToken,
}

// AgentTokens are the secrets that an agent acts with. A nil one has none.
type AgentTokens struct {
	path string // where tokens set over the API are kept; empty: nowhere
	mu   sync.Mutex
	set  map[string]string // over the API
	now  atomic.Pointer[agentState]
}

// agentState is the tokens at one moment. It is immutable.
type agentState struct {
	secrets  map[string]string
	recovery [32]byte // the hash of the recovery token, if there is one
}

func (a *AgentTokens) put(secrets map[string]string) {
	a.now.Store(&agentState{secrets, hash(secrets[RecoveryToken])})
}

// NewAgentTokens takes the tokens of the configuration. With a path, tokens set
// over the API are kept there, and win over the configuration's at the next start.
func NewAgentTokens(configured map[string]string, path string) (*AgentTokens, error) {
	a := &AgentTokens{path: path, set: map[string]string{}}
	a.put(maps.Clone(configured))
	if path == "" {
		return a, nil
	}
	b, err := files.ReadKept(path, files.MaxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &a.set); err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "%s: not a list of tokens: %w; remove the file to start with those of the configuration", path, err)
	}
	a.Configure(configured)
	return a, nil
}

// Configure takes the tokens of a new configuration. Those set over the API stay.
func (a *AgentTokens) Configure(configured map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	secrets := map[string]string{}
	maps.Copy(secrets, configured)
	maps.Copy(secrets, a.set)
	a.put(secrets)
}

// Set changes one token. An error of kind NotFound means that there is no such kind.
func (a *AgentTokens) Set(kind, secret string) error {
	name, ok := kinds[kind]
	if !ok {
		return skerry.Errorf(skerry.NotFound, "Token %q is unknown", kind)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	secrets := map[string]string{}
	maps.Copy(secrets, a.now.Load().secrets)
	secrets[name] = secret
	a.put(secrets)
	a.set[name] = secret
	if a.path == "" {
		return nil
	}
	if err := a.save(); err != nil {
		return skerry.Errorf(skerry.Unavailable, "Failed to persist token: %w", err)
	}
	return nil
}

func (a *AgentTokens) save() error {
	b, err := json.MarshalIndent(a.set, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(a.path), ".tokens-*") // for the owner alone
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), a.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Secret returns the token of a kind, or nothing.
func (a *AgentTokens) Secret(kind string) string { return a.secret(kind) }

func (a *AgentTokens) secret(kind string) string {
	if a == nil {
		return ""
	}
	return a.now.Load().secrets[kind]
}

// recovers reports whether the secret with this hash is the recovery token.
func (a *AgentTokens) recovers(h [32]byte) bool {
	if a == nil {
		return false
	}
	now := a.now.Load()
	return now.secrets[RecoveryToken] != "" && subtle.ConstantTimeCompare(h[:], now.recovery[:]) == 1
}

// Recovers reports whether the secret is the recovery token.
func (a *AgentTokens) Recovers(secret string) bool { return a.recovers(hash(secret)) }

// For returns the secret that a request with this one has: without any it is the default token,
// or else that of anonymous callers.
func (a *AgentTokens) For(secret string) string {
	return cmp.Or(secret, a.secret(DefaultToken), skerry.AnonymousSecret)
}

// DNSSecret is the token that DNS is answered with: its own, or else the default.
func (a *AgentTokens) DNSSecret() string {
	if s := a.secret(DNSToken); s != "" {
		return s
	}
	return a.secret(DefaultToken)
}
