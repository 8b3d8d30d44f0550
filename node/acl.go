package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/jwt"
	"github.com/skerryhq/skerry/access/kubernetes"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/access/replication"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/decided/query"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/tongue/dns"
)

// ACL is access control. The zero value is none.
type ACL struct {
	Enabled           bool
	Defaults          rules.Defaults // for objects that no rule names
	Hide              bool           // objects that the caller may not see look absent
	InitialManagement string
	Primary           string            // the datacenter that decides on policies and tokens; empty: this one
	CopyTokens        bool              // of the primary datacenter, if it is another one
	Tokens            map[string]string // of the agent, by kind
	PersistTokens     bool              // those set over the API
	DryRun            bool              // refuse nothing, log the refusals
	Down              remote.Down       // of an agent, while no server answers; default extend-cache
	Audit             access.AuditConfig
	MinTokenTTL       time.Duration // of tokens that expire; default a minute
}

// control is the running access control.
type control struct {
	store  *access.Store // nil at an agent: servers have the tokens
	remote *remote.Gate  // at an agent
	tokens *access.AgentTokens
	gate   skerry.Gate
	far    *remote.Far // where the primary datacenter has the tokens, and no copy is here
	// replicator copies from the primary datacenter; nil: this one decides.
	replicator *replication.Replicator
	dryRun     *access.DryRun // nil: refusals are enforced
	audit      *access.Audit  // nil: no audit log
}

// The files of access control in the data folder.
const (
	sealFile   = "acl.key"
	resetFile  = "acl-bootstrap-reset"
	tokensFile = "acl-tokens.json"
)

// startAccess starts access control if it is configured.
func startAccess(n *Node) (part, error) {
	if !n.cfg.ACL.Enabled {
		return part{}, nil
	}
	c := &control{}
	var err error
	if c.tokens, err = access.NewAgentTokens(n.cfg.ACL.Tokens, n.tokensFile()); err != nil {
		return part{}, err
	}
	var run []func(context.Context)
	if n.attached.attachment != nil {
		run = append(run, n.decideRemotely(c))
	} else if run, err = n.decideHere(c); err != nil {
		return part{}, err
	}
	n.control = c
	return part{run: loops(run...), stop: c.close}, n.watchDecisions(c)
}

// tokensFile is where the tokens of the agent are kept that are set over the API; empty: nowhere.
func (n *Node) tokensFile() string {
	if n.cfg.DataDir == "" || !n.cfg.ACL.PersistTokens {
		return ""
	}
	return filepath.Join(n.cfg.DataDir, tokensFile)
}

// decideHere lets this process decide by the store. It returns the loops.
func (n *Node) decideHere(c *control) (run []func(context.Context), err error) {
	cfg, primary := n.cfg.ACL, n.cfg.ACL.follows(n.cfg.Self.Datacenter)
	o := access.Options{
		KV: n.store.kv, Datacenter: n.cfg.Self.Datacenter, Node: n.cfg.Self.Name, InitialManagement: cfg.InitialManagement, MinTTL: cfg.MinTokenTTL, Primary: primary, CopyTokens: cfg.CopyTokens,
		Defaults: cfg.Defaults, Hide: cfg.Hide, Log: n.log, Verifiers: map[string]access.Verifier{"jwt": jwt.New(), "kubernetes": kubernetes.New()},
	}
	if dir := n.cfg.DataDir; dir != "" {
		o.ResetFile = filepath.Join(dir, resetFile)
		if o.Key, err = sealKey(filepath.Join(dir, sealFile)); err != nil {
			return nil, err
		}
	}
	if c.store, err = access.New(o); err != nil {
		return nil, err
	}
	c.gate = access.NewGate(c.store, c.tokens)
	if run = append(run, c.store.Run); primary != "" {
		run = append(run, n.replicate(c, primary))
	}
	if primary != "" && !cfg.CopyTokens {
		c.far = remote.NewFar(c.store, remote.Config{
			Node: n.cfg.Self.Name, Ask: n.askPrimaryTokens, Tokens: c.tokens, Down: cmp.Or(cfg.Down, remote.ExtendCache), Datacenter: n.cfg.Self.Datacenter, Log: n.log,
		})
		c.gate = c.far
		run = append(run, c.far.Run)
	}
	return run, nil
}

// watchDecisions begins the dry run and the audit log, if they are configured.
func (n *Node) watchDecisions(c *control) (err error) {
	cfg := n.cfg.ACL
	if cfg.DryRun {
		c.dryRun = access.NewDryRun(c.gate, n.log)
		c.gate = c.dryRun
		n.log.Warn("access control refuses nothing: acl.dry_run only logs the refusals")
	}
	if cfg.Audit.Path != "" {
		c.audit, err = access.OpenAudit(cfg.Audit, n.log)
	}
	return err
}

// sealKey returns the key in the file, which it makes if there is none.
func sealKey(path string) ([]byte, error) {
	key, err := files.ReadKept(path, files.MaxSmall)
	switch {
	case err == nil && len(key) == 32:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("%s has %d bytes, not 32: restore the right one, or remove it, after which the secrets that it sealed cannot be shown", path, len(key))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	key = make([]byte, 32)
	rand.Read(key) // it never fails
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return key, files.WriteNew(path, key)
}

// sealer seals the tokens of prepared queries with the key of access control. The key
// is made for the first token.
type sealer struct {
	dir  string // the data folder; empty: the key is lost with the process
	once sync.Once
	seal access.Sealer
	err  error
}

func (s *sealer) open() error {
	s.once.Do(func() {
		key := make([]byte, 32)
		if s.dir == "" {
			rand.Read(key) // it never fails
		} else if key, s.err = sealKey(filepath.Join(s.dir, sealFile)); s.err != nil {
			return
		}
		s.seal, s.err = access.NewSealer(key)
	})
	return s.err
}

// ofQuery returns the context of a query's secrets, so that they open for no other
// record sealed with the key.
func ofQuery(id string) string { return "query " + id }

// Seal implements [query.Sealer].
func (s *sealer) Seal(secret, id string) ([]byte, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.seal.Seal(secret, ofQuery(id)), nil
}

// Open implements [query.Sealer].
func (s *sealer) Open(sealed []byte, id string) (string, bool) {
	if s.open() != nil {
		return "", false
	}
	return s.seal.Open(sealed, ofQuery(id))
}

// seen returns the catalog as DNS clients see it, since they have no token: as the holder of secret.
func (c *control) seen(catalog skerry.Catalog, secret func() string) skerry.Catalog {
	if c == nil {
		return catalog
	}
	return access.NewCatalog(catalog, access.For(c.gate, secret))
}

// knownQueries returns the prepared queries as the holder of secret sees them. If the gate
// hides, queries that it may not read are absent.
func (c *control) knownQueries(all *query.Store, secret func() string) dns.Queries {
	if !c.gate.Hides() {
		return all
	}
	return knownQueries{all, access.For(c.gate, secret)}
}

type knownQueries struct {
	*query.Store
	who func() skerry.Identity
}

// ExecuteQuery implements [dns.Queries].
func (k knownQueries) ExecuteQuery(nameOrID string, ask skerry.QueryAsk) (*skerry.QueryResult, error) {
	one, err := k.ResolveQuery(nameOrID)
	if err != nil {
		return nil, err
	}
	named := one.Name != "" || one.Template.Type != ""
	if named && !k.reads(one) {
		return nil, skerry.Errorf(skerry.NotFound, "Query not found")
	}
	return k.Store.ExecuteQuery(nameOrID, ask)
}

// QueriesBeneath implements [dns.Queries].
func (k knownQueries) QueriesBeneath(name string) bool {
	if !k.Store.QueriesBeneath(name) {
		return false
	}
	all, _, _ := k.Queries() // damaged ones have no name
	return slices.ContainsFunc(all, func(one *skerry.PreparedQuery) bool {
		return one.Template.Type == "" && strings.HasSuffix(strings.ToLower(one.Name), "."+name) && k.reads(one)
	})
}

func (k knownQueries) reads(one *skerry.PreparedQuery) bool {
	return k.who().Allows(skerry.ResourceQuery, one.Name, skerry.AccessRead)
}

// dnsSecret returns the token that DNS is answered with.
func (c *control) dnsSecret() string {
	if c == nil {
		return ""
	}
	return c.tokens.DNSSecret()
}

func (c *control) close() error {
	if c.audit == nil {
		return nil
	}
	return c.audit.Close()
}
