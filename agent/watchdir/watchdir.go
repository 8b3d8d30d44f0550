// Package watchdir registers the services and checks of the files in a folder, and
// withdraws those of a removed file.
package watchdir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/files"
)

// watchEvery is the interval of reading the watched folder. Polling works on every
// file system, and a program that drops a file waits no longer than this.
const watchEvery = 250 * time.Millisecond

// The bounds of the watched folder.
const (
	maxDropped      = 1 << 20  // bytes of a file
	maxDroppedFiles = 1024     // files
	maxDroppedBytes = 64 << 20 // bytes of all files
	maxEntries      = 4 * maxDroppedFiles
)

// dropped is the state of a file when it was read; zero if it must be read again.
type dropped struct {
	modified time.Time
	size     int64
}

// watched is the state of the watched folder.
type watched struct {
	seen  map[string]dropped // by name
	total int64              // bytes of those seen
	said  map[string]string  // the last complaint about a file, and about the folder as ""
}

func (f *Folder) newWatched() *watched {
	w := &watched{seen: map[string]dropped{}, said: map[string]string{}}
	for _, name := range f.cfg.Agent.Dropped() {
		w.seen[name] = dropped{} // from before the restart: withdrawn if it is gone
	}
	return w
}

// Agent keeps the registrations of files.
type Agent interface {
	// Drop makes the registrations of a file exactly these; none withdraws them all.
	Drop(ctx context.Context, file string, services []skerry.Registration, checks []skerry.CheckDefinition) error
	// Dropped returns the names of the files that have registrations.
	Dropped() []string
}

// Config configures a [Folder].
type Config struct {
	Dir   string
	Agent Agent
	// Parse returns the registrations in a file.
	Parse func(name string, data []byte) ([]skerry.Registration, []skerry.CheckDefinition, error)
	Log   *slog.Logger
}

// Folder is a watched folder.
type Folder struct{ cfg Config }

// New returns a folder that is watched once Run is called.
func New(cfg Config) *Folder { return &Folder{cfg} }

// Run registers the *.json and *.hcl files in the folder until ctx ends. A file that
// cannot be read or parsed leaves its earlier registrations in force. Links count as the
// files that they lead to; any other file that is not regular is refused.
func (f *Folder) Run(ctx context.Context) {
	w := f.newWatched()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		f.look(ctx, w)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *Folder) look(ctx context.Context, w *watched) {
	names, err := serviceFiles(f.cfg.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return // the folder may be mounted later; its registrations stay
	}
	f.complain(w, "", err)
	if err != nil {
		return
	}
	present := map[string]bool{}
	for _, name := range names {
		present[name] = true
		fi, err := os.Stat(filepath.Join(f.cfg.Dir, name))
		if err != nil {
			continue
		}
		now := dropped{fi.ModTime(), fi.Size()}
		if before, known := w.seen[name]; known && before == now {
			continue
		}
		if err := w.room(name, now); err != nil {
			f.complain(w, name, err)
			continue
		}
		err = f.take(ctx, name)
		f.complain(w, name, err)
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
		if err := f.cfg.Agent.Drop(ctx, name, nil, nil); err != nil {
			f.cfg.Log.Error("watch_dir: withdrawing failed", "file", name, "error", err)
			w.seen[name] = dropped{}
			continue
		}
		f.cfg.Log.Info("watch_dir: withdrawn with its file", "file", name)
	}
}

// passing reports whether reading again may help though the file is the same.
func passing(err error) bool {
	return check.FaultOf(err) != "" || skerry.KindOf(err) == skerry.Unavailable
}

// serviceFiles returns the names of the service files in dir.
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
		return nil, fmt.Errorf("%s has more than %d entries; remove the other files", dir, maxEntries)
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

// note keeps the state of a file. A file that is too large does not count to the total.
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

// room returns an error if the folder's bounds do not allow the file as it is now.
func (w *watched) room(name string, now dropped) error {
	if _, known := w.seen[name]; !known && len(w.seen) >= maxDroppedFiles {
		return fmt.Errorf("the folder has more than %d service files; put several services in one", maxDroppedFiles)
	}
	if now.size <= maxDropped && w.total-counted(w.seen[name])+now.size > maxDroppedBytes {
		return fmt.Errorf("the folder's service files have more than %d bytes together; make them smaller", maxDroppedBytes)
	}
	return nil // the reader refuses one that is too large
}

func (f *Folder) take(ctx context.Context, name string) error {
	data, err := files.Read(filepath.Join(f.cfg.Dir, name), maxDropped)
	if err != nil {
		return err
	}
	services, checks, err := f.cfg.Parse(name, data)
	if err != nil {
		return err
	}
	if err := f.cfg.Agent.Drop(ctx, name, services, checks); err != nil {
		return err
	}
	f.cfg.Log.Info("watch_dir: registered from file", "file", name)
	return nil
}

// complain logs the error of a file, or of the folder, once for each message.
func (f *Folder) complain(w *watched, name string, err error) {
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
		f.cfg.Log.Warn("watch_dir: the folder cannot be read; its registrations stay", "error", err)
		return
	}
	f.cfg.Log.Warn("watch_dir: file cannot be used; its registrations stay", "file", name, "error", err)
}
