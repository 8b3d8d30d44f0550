package quorum

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry"
)

// Recover makes the member in a folder the only one of a cluster that lost its majority
// for good. Changes that this member never received are lost. No other member of the old
// cluster may be started with its data again. The store must not be open; afterwards it is
// opened as always, and others can be added.
func Recover(ctx context.Context, cfg Embedded) error {
	m := &member{dead: newDeath(), dir: cfg.Dir, log: cfg.Log}
	conf, err := etcdConfig(cfg, m.dead)
	if err != nil {
		return err
	}
	if had, err := HasData(cfg.Dir); err != nil {
		return err
	} else if !had {
		return skerry.Errorf(skerry.NotFound, "there is no member's data in %s", cfg.Dir)
	}
	if err := prepare(cfg); err != nil {
		return fmt.Errorf("the store's folder: %w", err)
	}
	if err := commitAll(filepath.Join(cfg.Dir, "member", "wal")); err != nil {
		return fmt.Errorf("the log of the store in %s: %w", cfg.Dir, err)
	}
	conf.ForceNewCluster, conf.ListenPeerUrls = true, nil
	if err := m.launch(conf); err != nil {
		return fmt.Errorf("recover the store in %s: %w", cfg.Dir, err)
	}
	defer m.close()
	if m.etcd.Server.IsLearner() {
		return skerry.Errorf(skerry.Unsupported, "the member in %s has no vote: recover another one, or restore a snapshot", cfg.Dir)
	}
	if err := m.awaitAlone(ctx); err != nil {
		return fmt.Errorf("recover the store in %s: %w", cfg.Dir, err)
	}
	return nil
}

// commitAll marks all changes in a member's log as agreed on. After a crash the mark in the
// log lags behind, and etcd drops the changes above it when it forces a new cluster: the
// last ones that were acknowledged, although this member showed them. A change that no
// majority has agreed on is made too: its author was told that this may be.
func commitAll(dir string) error {
	err := raiseCommit(dir)
	if errors.Is(err, io.ErrUnexpectedEOF) && wal.Repair(zap.NewNop(), dir) { // a crash tore the last record
		err = raiseCommit(dir)
	}
	return err
}

func raiseCommit(dir string) error {
	snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err != nil {
		return err
	}
	if len(snapshots) == 0 {
		return errors.New("it has no beginning")
	}
	w, err := wal.Open(zap.NewNop(), dir, snapshots[len(snapshots)-1])
	if err != nil {
		return err
	}
	_, state, entries, err := w.ReadAll()
	if err == nil && len(entries) > 0 {
		if last := entries[len(entries)-1].GetIndex(); last > state.GetCommit() {
			term, vote := state.GetTerm(), state.GetVote()
			err = w.Save(&raftpb.HardState{Term: &term, Vote: &vote, Commit: &last}, nil)
		}
	}
	return errors.Join(err, w.Close())
}
