package server

import (
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
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/tongue/dns"
)

// ACL is access control. The zero value is none.
type ACL struct {
	Enabled           bool
	Defaults          rules.Defaults // of what no rule names
	Hide              bool           // what may not be seen looks like what is not there
	InitialManagement string
	Tokens            map[string]string // that the agent acts with, by kind
	PersistTokens     bool              // those set over the API
	DryRun            bool              // refuse nothing, tell what would be
	Audit             access.AuditConfig
	MinTokenTTL       time.Duration // of tokens that end; default a minute
}

// control is access control at work.
type control struct {
	store  *access.Store
	tokens *access.AgentTokens
	gate   skerry.Gate
	dryRun *access.DryRun // nil: refusals are meant
	audit  *access.Audit  // nil: nothing is noted
}

// The files of access control in the data folder.
const (
	sealFile   = "acl.key"
	resetFile  = "acl-bootstrap-reset"
	tokensFile = "acl-tokens.json"
)

// newControl puts access control together; nil when it is off.
func (s *Server) newControl() (*control, error) {
	cfg := s.cfg.ACL
	if !cfg.Enabled {
		return nil, nil
	}
	o := access.Options{
		KV: s.kv, Datacenter: s.cfg.Consul.Datacenter, Node: s.cfg.Consul.NodeName, InitialManagement: cfg.InitialManagement, MinTTL: cfg.MinTokenTTL,
		Defaults: cfg.Defaults, Hide: cfg.Hide, Log: s.log, Verifiers: map[string]access.Verifier{"jwt": jwt.New(), "kubernetes": kubernetes.New()},
	}
	keep := ""
	if dir := s.cfg.DataDir; dir != "" {
		o.ResetFile = filepath.Join(dir, resetFile)
		if cfg.PersistTokens {
			keep = filepath.Join(dir, tokensFile)
		}
		var err error
		if o.Key, err = sealKey(filepath.Join(dir, sealFile)); err != nil {
			return nil, err
		}
	}
	store, err := access.New(o)
	if err != nil {
		return nil, err
	}
	c := &control{store: store}
	if c.tokens, err = access.NewAgentTokens(cfg.Tokens, keep); err != nil {
		return nil, err
	}
	c.gate = access.NewGate(store, c.tokens)
	if cfg.DryRun {
		c.dryRun = access.NewDryRun(c.gate, s.log)
		c.gate = c.dryRun
		s.log.Warn("access control refuses nothing: acl.dry_run only tells what would be refused")
	}
	if cfg.Audit.Path != "" {
		if c.audit, err = access.OpenAudit(cfg.Audit, s.log); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// sealKey returns the key in the file, made when there is none.
func sealKey(path string) ([]byte, error) {
	key, err := files.ReadKept(path, files.MaxSmall)
	switch {
	case err == nil && len(key) == 32:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("%s has %d bytes, not 32: put the right one back, or remove it and lose sight of the secrets that it sealed", path, len(key))
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
// is made when there is something to seal.
type sealer struct {
	dir  string // the data folder; empty: the key goes with the process
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

// What is sealed of a query opens for nothing else that the key seals.
func ofQuery(id string) string { return "query " + id }

// Seal implements [decided.Sealer].
func (s *sealer) Seal(secret, id string) ([]byte, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.seal.Seal(secret, ofQuery(id)), nil
}

// Open implements [decided.Sealer].
func (s *sealer) Open(sealed []byte, id string) (string, bool) {
	if s.open() != nil {
		return "", false
	}
	return s.seal.Open(sealed, ofQuery(id))
}

// seen is the catalog as those see it who cannot bring a token: DNS.
func (c *control) seen(catalog skerry.Catalog) skerry.Catalog {
	if c == nil {
		return catalog
	}
	return access.NewCatalog(catalog, access.For(c.gate, c.tokens.DNSSecret))
}

// knownQueries are the prepared queries as callers without a token see them:
// where things are hidden, queries that they may not read are not there.
func (c *control) knownQueries(all *decided.Queries) dns.Queries {
	if !c.gate.Hides() {
		return all
	}
	return knownQueries{all, access.For(c.gate, c.tokens.DNSSecret)}
}

type knownQueries struct {
	*decided.Queries
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
	return k.Queries.ExecuteQuery(nameOrID, ask)
}

// QueriesBeneath implements [dns.Queries].
func (k knownQueries) QueriesBeneath(name string) bool {
	if !k.Queries.QueriesBeneath(name) {
		return false
	}
	all, _, _ := k.Queries.Queries() // damaged ones have no name
	return slices.ContainsFunc(all, func(one *skerry.PreparedQuery) bool {
		return one.Template.Type == "" && strings.HasSuffix(strings.ToLower(one.Name), "."+name) && k.reads(one)
	})
}

func (k knownQueries) reads(one *skerry.PreparedQuery) bool {
	return k.who().Allows(skerry.ResourceQuery, one.Name, skerry.AccessRead)
}

// reload takes the agent's tokens of a new configuration; the rest of access
// control is fixed at the start.
func (c *control) reload(next ACL) {
	if c != nil {
		c.tokens.Configure(next.Tokens)
	}
}

func (c *control) run(ctx context.Context) {
	if c != nil {
		c.store.Run(ctx)
	}
}

func (c *control) close() error {
	if c == nil || c.audit == nil {
		return nil
	}
	return c.audit.Close()
}
