package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/files"
)

// watchEvery is how often the watched folder is looked at. Looking works on
// every file system, and a program that drops a file waits no longer than this.
const watchEvery = 250 * time.Millisecond

// What the watched folder may hold.
const (
	maxDropped      = 1 << 20  // bytes of a file
	maxDroppedFiles = 1024     // files
	maxDroppedBytes = 64 << 20 // bytes of all files
	maxEntries      = 4 * maxDroppedFiles
)

// dropped is what was seen of a file; nothing, when it is to be read again.
type dropped struct {
	modified time.Time
	size     int64
}

// watched is what is known of the watched folder.
type watched struct {
	seen  map[string]dropped // by name
	total int64              // bytes of those seen
	said  map[string]string  // the last complaint of a file, and of the folder as ""
}

func (s *Server) newWatched() *watched {
	w := &watched{seen: map[string]dropped{}, said: map[string]string{}}
	for _, name := range s.agent.Dropped() {
		w.seen[name] = dropped{} // from before the restart: withdrawn if it is gone
	}
	return w
}

// watchDir registers what *.json and *.hcl files in the folder say, and
// withdraws it when they are gone. A file that cannot be read or understood
// leaves what it said before in force. Links count as the files that they lead to,
// wherever these are; anything but a regular file is refused.
func (s *Server) watchDir(ctx context.Context) {
	w := s.newWatched()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s.lookAtDir(ctx, w)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) lookAtDir(ctx context.Context, w *watched) {
	names, err := serviceFiles(s.cfg.WatchDir)
	if errors.Is(err, os.ErrNotExist) {
		return // the folder may be mounted later; what it said stays
	}
	s.complain(w, "", err)
	if err != nil {
		return
	}
	present := map[string]bool{}
	for _, name := range names {
		present[name] = true
		fi, err := os.Stat(filepath.Join(s.cfg.WatchDir, name))
		if err != nil {
			continue
		}
		now := dropped{fi.ModTime(), fi.Size()}
		if before, known := w.seen[name]; known && before == now {
			continue
		}
		if err := w.room(name, now); err != nil {
			s.complain(w, name, err)
			continue
		}
		err = s.takeFile(ctx, name)
		s.complain(w, name, err)
		if passing(err) {
			now = dropped{}
		}
		w.note(name, now)
	}
	for name := range w.seen {
		if present[name] {
			continue
		}
		w.note(name, dropped{})
		delete(w.seen, name)
		delete(w.said, name)
		if err := s.agent.Drop(ctx, name, nil, nil); err != nil {
			s.log.Error("watch_dir: withdrawing failed", "file", name, "error", err)
			w.seen[name] = dropped{}
			continue
		}
		s.log.Info("watch_dir: withdrawn with its file", "file", name)
	}
}

// passing reports whether reading again may help though the file is the same.
func passing(err error) bool {
	return check.FaultOf(err) != "" || skerry.KindOf(err) == skerry.Unavailable
}

// serviceFiles returns the names of the files that say something.
func serviceFiles(dir string) (names []string, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("%s has more than %d entries; take out what is no service file", dir, maxEntries)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") || !slices.Contains([]string{".json", ".hcl"}, filepath.Ext(name)) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// note keeps what was seen of a file; one that was refused for its size counts for nothing.
func (w *watched) note(name string, now dropped) {
	w.total += counted(now) - counted(w.seen[name])
	w.seen[name] = now
}

func counted(d dropped) int64 {
	if d.size > maxDropped {
		return 0
	}
	return d.size
}

// room says why there is none for a file as it is now.
func (w *watched) room(name string, now dropped) error {
	if _, known := w.seen[name]; !known && len(w.seen) >= maxDroppedFiles {
		return fmt.Errorf("the folder has more than %d service files; put several services in one", maxDroppedFiles)
	}
	if now.size <= maxDropped && w.total-counted(w.seen[name])+now.size > maxDroppedBytes {
		return fmt.Errorf("the folder's service files have more than %d bytes together; make them smaller", maxDroppedBytes)
	}
	return nil // the reader refuses one that is too large
}

func (s *Server) takeFile(ctx context.Context, name string) error {
	data, err := files.Read(filepath.Join(s.cfg.WatchDir, name), maxDropped)
	if err != nil {
		return err
	}
	services, checks, err := s.cfg.ParseFile(name, data)
	if err != nil {
		return err
	}
	if err := s.agent.Drop(ctx, name, services, checks); err != nil {
		return err
	}
	s.log.Info("watch_dir: registered from file", "file", name)
	return nil
}

// complain logs what is wrong with a file, or with the folder, once for each reason.
func (s *Server) complain(w *watched, name string, err error) {
	if err == nil {
		delete(w.said, name)
		return
	}
	if w.said[name] == err.Error() {
		return
	}
	if len(w.said) < maxEntries {
		w.said[name] = err.Error()
	}
	if name == "" {
		s.log.Warn("watch_dir: the folder cannot be read; what its files said before stays", "error", err)
		return
	}
	s.log.Warn("watch_dir: file cannot be used; what it said before stays", "file", name, "error", err)
}
