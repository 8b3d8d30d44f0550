package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/quorum"
)

// Quorum says where the decided things are kept.
type Quorum struct {
	Embedded  bool     // a member in this process, in the data folder
	Endpoints []string // an existing etcd cluster instead
	Prefix    string   // of our keys in it; default "skerry/"
	User      string
	Password  string
	// PEM files for the way to it: the authorities to trust, and the certificate to show.
	CAFile, CertFile, KeyFile string
	Quota                     int64 // of the embedded member's data file in bytes; default 8 GiB
}

// tls returns how to speak to the cluster. The endpoints say whether TLS is
// spoken at all.
func (q *Quorum) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if q.CAFile != "" {
		pem, err := files.Read(q.CAFile, files.MaxPEM)
		if err != nil {
			return nil, fmt.Errorf("quorum.ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("quorum.ca_file: there is no PEM certificate in %s", q.CAFile)
		}
	}
	if q.CertFile != "" {
		cert, err := keyPair(q.CertFile, q.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("quorum.cert_file: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// noStore is what an agent answers that is neither a server nor knows one.
const noStore = "No known Consul servers: this agent has no store of decided things; start it with -server or -dev, or name an etcd cluster in quorum.endpoints"

// openKV begins to open the store. Nothing waits for it that can do without.
func (s *Server) openKV() {
	q, log := s.cfg.Quorum, s.log
	switch {
	case len(q.Endpoints) > 0:
		s.kv = quorum.Eventually(func(ctx context.Context) (*quorum.Store, error) {
			conf, err := q.tls()
			if err != nil {
				return nil, err
			}
			return quorum.Dial(ctx, quorum.External{Endpoints: q.Endpoints, Prefix: q.Prefix, User: q.User, Password: q.Password, TLS: conf, Log: log})
		}, log)
	case q.Embedded:
		dir := filepath.Join(s.cfg.DataDir, "quorum")
		if s.cfg.DataDir == "" {
			dir = ""
		}
		s.kv = quorum.Eventually(func(ctx context.Context) (*quorum.Store, error) { return s.openMember(ctx, dir) }, log)
	default:
		s.kv = quorum.Never(noStore)
	}
}

// openMember starts the member; without a folder it is in one that goes with the process.
func (s *Server) openMember(ctx context.Context, dir string) (*quorum.Store, error) {
	forget := dir == ""
	if !forget {
		if err := files.MakeFolder(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if forget {
		if s.tempDir == "" {
			temp, err := os.MkdirTemp("", "skerry-dev-")
			if err != nil {
				return nil, err
			}
			s.tempDir = temp
		}
		dir = s.tempDir
	}
	return quorum.Open(ctx, quorum.Embedded{Dir: dir, Quota: s.cfg.Quorum.Quota, Forget: forget, Log: s.log})
}

func (s *Server) closeKV() error {
	err := s.kv.Close()
	if s.tempDir != "" {
		os.RemoveAll(s.tempDir)
	}
	return err
}

// snapshots are the store's, with what this server adds to them.
type snapshots struct {
	store *decided.Store
	meta  archive.Meta
	log   *slog.Logger
}

// SaveSnapshot implements [consul.Snapshots].
func (s snapshots) SaveSnapshot(w io.Writer, queryTokens bool) (uint64, error) {
	index, bytes, err := s.store.SaveSnapshot(w, s.meta, queryTokens)
	if err == nil {
		s.log.Info("a snapshot was saved", "index", index, "bytes", bytes)
	}
	return index, err
}

// RestoreSnapshot implements [consul.Snapshots].
func (s snapshots) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	bytes, err := s.store.RestoreSnapshot(ctx, r)
	if err == nil {
		s.log.Warn("a snapshot was restored: all decided things are as it has them", "bytes", bytes)
	}
	return err
}

// newDecided gives the store its meaning.
func newDecided(kv skerry.KV, catalog skerry.Catalog, cfg *Config) (*decided.Store, *decided.Decider) {
	store := &decided.Store{KV: kv, Catalog: catalog, ShortestTTL: cfg.SessionTTLMin, MaxSnapshot: maxSnapshot(cfg.Quorum.Quota), Log: cfg.Log}
	return store, &decided.Decider{Store: store, Self: cfg.Consul.NodeID, Log: cfg.Log}
}

// maxSnapshot is how large a snapshot may be for a store with this quota: in the
// archive, values are in base64.
func maxSnapshot(quota int64) int64 {
	if quota == 0 {
		quota = quorum.DefaultQuota
	}
	return 2 * quota
}
