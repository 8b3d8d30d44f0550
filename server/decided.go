package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/quorum"
)

// Quorum says where the decided things are kept.
type Quorum struct {
	Embedded  bool     // a member in this process, in the data folder
	Endpoints []string // an existing etcd cluster instead
	Prefix    string   // of our keys in it; default "skerry/"
	User      string
	Password  string
	TLS       *tls.Config // to it; nil: none
	Quota     int64       // of the embedded member's data file in bytes; default 8 GiB
}

// noStore is what an agent answers that is neither a server nor knows one.
const noStore = "No known Consul servers: this agent has no store of decided things; start it with -server or -dev, or name an etcd cluster in quorum.endpoints"

// openKV begins to open the store. Nothing waits for it that can do without.
func (s *Server) openKV() {
	q, log := s.cfg.Quorum, s.log
	switch {
	case len(q.Endpoints) > 0:
		s.kv = quorum.Eventually(func(ctx context.Context) (*quorum.Store, error) {
			return quorum.Dial(ctx, quorum.External{Endpoints: q.Endpoints, Prefix: q.Prefix, User: q.User, Password: q.Password, TLS: q.TLS, Log: log})
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

// newDecided gives the store its meaning.
func newDecided(kv skerry.KV, catalog skerry.Catalog, self string, log *slog.Logger) (*decided.Store, *decided.Decider) {
	store := &decided.Store{KV: kv, Catalog: catalog}
	return store, &decided.Decider{Store: store, Self: self, Log: log}
}
