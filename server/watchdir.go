package server

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// watchEvery is how often the watched folder is looked at. Looking works on
// every file system, and a program that drops a file waits no longer than this.
const watchEvery = 250 * time.Millisecond

// dropped is what was seen of a file.
type dropped struct {
	modified time.Time
	size     int64
}

// maxDropped bounds a dropped file's size in bytes.
const maxDropped = 4 << 20

// watchDir registers what *.json and *.hcl files in the folder say, and
// withdraws it when they are gone. A file that cannot be read or understood
// leaves what it said before in force.
func (s *Server) watchDir(ctx context.Context) {
	seen := map[string]dropped{}
	for _, name := range s.agent.Dropped() {
		seen[name] = dropped{} // from before the restart: withdrawn if it is gone
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s.lookAtDir(seen)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) lookAtDir(seen map[string]dropped) {
	entries, err := os.ReadDir(s.cfg.WatchDir)
	if err != nil {
		return // the folder may be mounted later; what it said stays
	}
	present := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") || !slices.Contains([]string{".json", ".hcl"}, filepath.Ext(name)) {
			continue
		}
		present[name] = true
		fi, err := os.Stat(filepath.Join(s.cfg.WatchDir, name))
		now := dropped{}
		if err == nil {
			now = dropped{fi.ModTime(), fi.Size()}
		}
		if err != nil || seen[name] == now {
			continue
		}
		seen[name] = now
		s.takeFile(name, fi.Size())
	}
	for name := range seen {
		if present[name] {
			continue
		}
		delete(seen, name)
		if err := s.agent.Drop(name, nil, nil); err != nil {
			s.log.Error("watch_dir: withdrawing failed", "file", name, "error", err)
			seen[name] = dropped{}
			continue
		}
		s.log.Info("watch_dir: withdrawn with its file", "file", name)
	}
}

func (s *Server) takeFile(name string, size int64) {
	if size > maxDropped {
		s.log.Warn("watch_dir: file is too large and is ignored", "file", name, "bytes", size, "most", maxDropped)
		return
	}
	data, err := os.ReadFile(filepath.Join(s.cfg.WatchDir, name))
	if err == nil {
		services, checks, perr := s.cfg.ParseFile(name, data)
		if err = perr; err == nil {
			err = s.agent.Drop(name, services, checks)
		}
	}
	if err != nil {
		s.log.Warn("watch_dir: file cannot be used; what it said before stays", "file", name, "error", err)
		return
	}
	s.log.Info("watch_dir: registered from file", "file", name)
}
