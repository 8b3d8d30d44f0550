package journal

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
)

// Compaction writes a new, shorter journal beside the old one, while appends go on.
type Compaction struct {
	j    *Journal
	cut  int64 // what was appended before is in the caller's snapshot
	file *os.File
	w    *bufio.Writer
	line []byte
}

// Compact begins a compaction. The caller must hold whatever keeps its state
// from changing from here until it has taken its snapshot (not until it has
// written it): records appended later are carried over by Commit.
func (j *Journal) Compact() (*Compaction, error) {
	file, err := os.OpenFile(filepath.Join(j.dir, fileName+".new"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &Compaction{j: j, cut: j.Size(), file: file, w: bufio.NewWriterSize(file, 1<<20)}, nil
}

// Write adds a record of the snapshot.
func (c *Compaction) Write(record []byte) error {
	c.line = appendLine(c.line[:0], record)
	_, err := c.w.Write(c.line)
	return err
}

// Commit puts the new journal in the place of the old one.
func (c *Compaction) Commit() error {
	err := c.commit()
	if err != nil {
		c.Abort()
	}
	return err
}

func (c *Compaction) commit() error {
	if err := c.w.Flush(); err != nil {
		return err
	}
	// The bulk is synced before appends have to wait.
	if err := c.file.Sync(); err != nil {
		return err
	}
	j := c.j
	j.io.Lock()
	defer j.io.Unlock()
	j.mu.Lock()
	wasBroken := j.broken != nil
	j.mu.Unlock()
	// A broken journal took nothing after the cut; there is nothing to carry over.
	if !wasBroken {
		j.commit()
		if err := j.Broken(); err != nil {
			return err
		}
		if _, err := io.Copy(c.file, io.NewSectionReader(j.file, c.cut, j.size-c.cut)); err != nil {
			return err
		}
		if err := c.file.Sync(); err != nil {
			return err
		}
	}
	if err := os.Rename(c.file.Name(), filepath.Join(j.dir, fileName)); err != nil {
		return err
	}
	if err := syncDir(j.dir); err != nil {
		return err
	}
	size, err := c.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file.Close()
	j.appended = size + int64(len(j.buf))
	j.file, j.size, j.broken = c.file, size, nil
	return nil
}

// Abort drops the new journal; the old one stays.
func (c *Compaction) Abort() {
	c.file.Close()
	os.Remove(c.file.Name())
}
