// Package form lets servers agree on the first members of their cluster: it runs the
// protocol of cluster.Boot, and keeps its state on disk.
package form

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/files"
)

// Config configures a [Former].
type Config struct {
	Self cluster.ServerID
	// URL is where the others reach this server's member of the quorum store.
	URL string
	// Expect is the number of first members. With 0 this server forms no cluster, and
	// learns of the one that exists; with [cluster.NoVote] it never gets a vote either.
	Expect int
	// Alone makes this server the only first member of its cluster, unless it knows another:
	// it has a quorum store from the time when it was alone.
	Alone bool
	// Path is the file of the state. It is replaced whole.
	Path string
	// Send sends messages to other servers. It must not block.
	Send func([]cluster.Envelope)
	// Known is called once, with the cluster's first members. It must not call the Former.
	Known func(cluster.Proposal)
	Now   func() time.Time // default time.Now
	Log   *slog.Logger
}

// Former takes part in forming a cluster. Its methods may be called at once.
type Former struct {
	cfg Config

	mu      sync.Mutex
	boot    *cluster.Boot
	kept    cluster.Kept  // that is on disk
	started chan struct{} // closed when the first members are known
}

const (
	// TickEvery is the time between two calls of Tick.
	TickEvery = 100 * time.Millisecond
	maxState  = 1 << 20
)

// New reads the state on disk.
func New(cfg Config) (*Former, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Known == nil {
		cfg.Known = func(cluster.Proposal) {}
	}
	var kept cluster.Kept
	text, err := files.ReadKept(cfg.Path, maxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &kept); err != nil {
			return nil, fmt.Errorf("%s: %w; a server that forgets what it accepted may make a second cluster: restore the file, or wipe the data folders of all servers", cfg.Path, err)
		}
	}
	f := &Former{cfg: cfg, kept: kept, started: make(chan struct{})}
	if cfg.Alone && kept.Accepted == nil && kept.Started == nil {
		f.kept = cluster.KeptAlone(cfg.Self, cfg.URL, kept.Rounds+1)
		if err := f.write(&f.kept); err != nil {
			return nil, err
		}
	}
	f.boot = cluster.NewBoot(cfg.Self, cfg.URL, cfg.Expect, f.kept, cfg.Now())
	f.note()
	return f, nil
}

// Tick lets time pass. It is to be called every [TickEvery].
func (f *Former) Tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boot.Tick(f.cfg.Now())
	f.flush()
}

// Receive takes a message from another server.
func (f *Former) Receive(from cluster.ServerID, m cluster.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boot.Step(f.cfg.Now(), from, m)
	f.flush()
}

// flush writes the state to the disk, then sends the messages that rest on it. If it cannot
// be written, the step is forgotten with its messages: the protocol sends again.
func (f *Former) flush() {
	keep, send := f.boot.Ready()
	if keep != nil {
		if err := f.write(keep); err != nil {
			f.cfg.Log.Error("the state of forming a cluster cannot be written to disk: make room, or mend the data folder", "error", err)
			f.boot = cluster.NewBoot(f.cfg.Self, f.cfg.URL, f.cfg.Expect, f.kept, f.cfg.Now())
			return
		}
		f.kept = *keep
	}
	if len(send) > 0 {
		f.cfg.Send(send)
	}
	f.note()
}

func (f *Former) write(kept *cluster.Kept) error {
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return files.Replace(f.cfg.Path, text)
}

// note wakes those that wait for the first members.
func (f *Former) note() {
	p, ok := f.boot.Started()
	if !ok {
		return
	}
	select {
	case <-f.started:
	default:
		close(f.started)
		f.cfg.Log.Info("the cluster's first members are known", "members", p.Members, "round", p.Round)
		f.cfg.Known(p)
	}
}

// Votes reports whether a server said lately that it takes a vote.
func (f *Former) Votes(id cluster.ServerID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.boot.Votes(f.cfg.Now(), id)
}

// Wait returns the cluster's first members, once they are known. founds says that this
// server promised to be one of them: it makes its member with the others, and does not
// join.
func (f *Former) Wait(ctx context.Context) (first cluster.Proposal, founds bool, err error) {
	select {
	case <-f.started:
	default:
		select {
		case <-f.started:
		case <-ctx.Done():
			return cluster.Proposal{}, false, context.Cause(ctx)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	first, _ = f.boot.Started()
	return first, f.boot.Founds(), nil
}
