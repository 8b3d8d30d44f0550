package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/quorum"
)

// Survivor is a stopped server of a cluster that lost its majority for good.
type Survivor struct {
	Name string // of its node

	peers *quorum.Peers
	dir   string
	lock  *os.File
	log   *slog.Logger
}

// OpenSurvivor opens the data folder of a server that is stopped. No process can use it
// until Close.
func OpenSurvivor(dataDir string, log *slog.Logger) (*Survivor, error) {
	dir := filepath.Join(dataDir, "quorum")
	peers, err := quorum.PeersOf(dir)
	if err != nil {
		return nil, err
	}
	lock, err := journal.Lock(filepath.Join(dataDir, "agent"))
	if err != nil {
		return nil, fmt.Errorf("stop the agent first: %w", err)
	}
	return &Survivor{peers.Name, peers, dir, lock, log}, nil
}

// Recover makes this server's member of the quorum store the only one. The record of the
// cluster's first members stays as it is: other servers learn from it that the cluster
// exists, and this one starts with the data that it has.
func (s *Survivor) Recover(ctx context.Context) error {
	return quorum.Recover(ctx, quorum.Embedded{Dir: s.dir, Log: s.log, Peers: s.peers})
}

// Close gives the data folder free.
func (s *Survivor) Close() error { return s.lock.Close() }
