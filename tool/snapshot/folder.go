package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The names of files have the time in UTC, so that their order is that of their times.
const (
	prefix = "skerry-"
	suffix = ".snap"
	stamp  = "20060102T150405.000Z"
)

func name(at time.Time) string { return prefix + at.UTC().Format(stamp) + suffix }

// taken is the time in a name; false where a file is none of ours.
func taken(name string) (at time.Time, ok bool) {
	text, ours := strings.CutPrefix(name, prefix)
	text, ends := strings.CutSuffix(text, suffix)
	at, err := time.Parse(stamp, text)
	return at, ours && ends && err == nil
}

// kept are the names of the snapshots in the folder, the oldest first.
func (o *Options) kept() (names []string, err error) {
	entries, err := os.ReadDir(o.Folder)
	for _, e := range entries {
		if _, ours := taken(e.Name()); ours {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// due is how long the next snapshot has time. Snapshots of an earlier run count, so that a process that is
// started again and again does not replace old snapshots by many new ones.
func (o *Options) due(now time.Time) (time.Duration, error) {
	names, err := o.kept()
	if err != nil || len(names) == 0 {
		return 0, err
	}
	last, _ := taken(names[len(names)-1])
	// A file from the future is one from before a step of the clock.
	return min(max(0, last.Add(o.Every).Sub(now)), o.Every), nil
}

// save saves a snapshot, and removes old ones.
func (o *Options) save(ctx context.Context) error {
	began := time.Now()
	file := name(began)
	if err := o.Save(ctx, filepath.Join(o.Folder, file)); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(o.Folder, file))
	if err != nil {
		return err
	}
	o.Log.Info("snapshot saved and verified", "file", file, "bytes", info.Size(), "took", time.Since(began).Round(time.Millisecond))
	if err := o.rotate(file); err != nil {
		return fmt.Errorf("the snapshot is saved, but removing old ones failed: %w", err)
	}
	return nil
}

// rotate removes the oldest snapshots, but never the one that was just saved.
func (o *Options) rotate(saved string) error {
	names, err := o.kept()
	if err != nil || o.Retain == 0 {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == saved })
	for len(names) >= o.Retain && len(names) > 0 {
		if err := os.Remove(filepath.Join(o.Folder, names[0])); err != nil {
			return err
		}
		o.Log.Info("old snapshot removed", "file", names[0])
		names = names[1:]
	}
	return nil
}
