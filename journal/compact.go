package journal

import (
	"bufio"
	"io"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry/files"
)

// Compaction writes a new, shorter journal beside the old one, while appends go on.
type Compaction struct {
	j    *Journal
	cut  int64 // earlier records are in the caller's snapshot
	mend bool  // the journal was broken when it began, and so took nothing since
	file *os.File
	w    *bufio.Writer
	line []byte
}

// Compact begins a compaction; there must be one at a time. The snapshot that the
// caller writes must be taken after it: it may be newer than this moment, since
// the records appended later are carried over by Commit and replayed on top.
func (j *Journal) Compact() (*Compaction, error) {
	file, err := files.Open(filepath.Join(j.dir, fileName+".new"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Compaction{j: j, cut: j.appended, mend: j.broken != nil, file: file, w: bufio.NewWriterSize(file, 1<<20)}, nil
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
	c.j.io.Lock()
	defer c.j.io.Unlock()
	if err := c.carryOver(); err != nil {
		return err
	}
	size, err := c.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if err := os.Rename(c.file.Name(), filepath.Join(c.j.dir, fileName)); err != nil {
		return err
	}
	// There is no way back: the old file has no name any more.
	err = files.SyncFolder(c.j.dir)
	c.j.turnTo(c.file, size, err)
	c.file = nil
	return err
}

// carryOver adds the records appended since the compaction began. Called with io held.
func (c *Compaction) carryOver() error {
	j := c.j
	j.commit() // of a broken journal: fails its waiters
	j.mu.Lock()
	broken, closed := j.broken, j.closed
	j.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case c.mend:
		return nil
	case broken != nil:
		// The failed records may be missing in the snapshot: the next compaction takes a
		// new one.
		return broken
	}
	if _, err := io.Copy(c.file, io.NewSectionReader(j.file, c.cut, j.size-c.cut)); err != nil {
		return err
	}
	return c.file.Sync()
}

// turnTo goes on in a new file. The journal is broken if err means that the file's name
// may not be durable. Called with io held.
func (j *Journal) turnTo(file *os.File, size int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file.Close()
	j.appended = size + int64(len(j.buf))
	j.file, j.size, j.broken = file, size, err
}

// Abort drops the new journal; the old one stays.
func (c *Compaction) Abort() {
	if c.file == nil {
		return // it is the journal already
	}
	c.file.Close()
	os.Remove(c.file.Name())
}
