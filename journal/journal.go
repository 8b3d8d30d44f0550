// Package journal keeps records on disk as lines of text: group commit, a
// checksum for each line, compaction by atomic rename.
//
// It does not know what a record means. Its owner must make records such that
// replaying them in order gives back its state, and that one lost to damage
// costs only itself ("service web-1 is now …", not "the third service …").
//
// A line is the CRC-32C of the record in eight hex digits, a space, the record
// (one line of JSON), a newline: `9b1d7a52 {"service":{"id":"web-1",…}}`.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/skerryhq/skerry/files"
)

const (
	fileName = "journal"
	lockName = "lock"
	sumSize  = 9 // eight hex digits and a space
)

// maxSpare is the largest buffer that is kept for the next batch, in bytes.
const maxSpare = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrClosed is the error of an append to a closed journal.
var ErrClosed = errors.New("the journal is closed")

// Report is the result of Open.
type Report struct {
	Records int    // replayed
	Damaged int    // lines that were skipped: a wrong checksum, or refused by replay
	Torn    bool   // the last line was incomplete (a write that was never acknowledged) and was cut off
	Aside   string // where the file was copied to before damaged lines were left out; "" without damage
}

// Journal is an open journal. Its methods may be called at once from many goroutines.
type Journal struct {
	dir  string
	lock *os.File

	// io serialises access to the file: commits and the end of a compaction.
	io   sync.Mutex
	file *os.File
	size int64 // bytes of whole, committed lines

	mu       sync.Mutex
	buf      []byte
	spare    []byte // the buffer written before, to be used again
	batch    *Batch
	appended int64 // size of the file once buf is written: where the next record begins
	wake     chan struct{}
	closed   bool
	broken   error
	syncs    uint64
	done     chan struct{}
}

// Batch is a group of records that become durable together.
type Batch struct {
	done chan struct{}
	err  error
}

// Wait returns when the records appended before are durable, or could not be made so. When
// ctx ends first it returns why: whether they will be is not known then.
func (b *Batch) Wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
	}
	select {
	case <-b.done:
		return b.err
	default:
		return ctx.Err()
	}
}

// Lock holds the folder of a journal against all other processes until the file is closed.
func Lock(dir string) (*os.File, error) {
	lock, err := files.OpenLocked(filepath.Join(dir, lockName), 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder %s is in use by another process, or cannot be locked: %w", dir, err)
	}
	return lock, nil
}

// Open opens the journal in dir, makes it if there is none, and calls replay
// with each record. It always opens a file that it may read and write: an
// incomplete last line is cut off, damaged lines are skipped and reported. The
// folder is locked against a second process.
func Open(dir string, replay func(record []byte) error) (*Journal, Report, error) {
	if err := files.MakeFolder(dir, 0o700); err != nil {
		return nil, Report{}, err
	}
	lock, err := Lock(dir)
	if err != nil {
		return nil, Report{}, err
	}
	file, err := files.Open(filepath.Join(dir, fileName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		lock.Close()
		return nil, Report{}, err
	}
	report, size, err := read(file, replay)
	if err == nil && report.Damaged > 0 {
		report.Aside, err = setAside(dir, file)
	}
	if err == nil && report.Torn {
		err = file.Truncate(size)
	}
	if err == nil {
		_, err = file.Seek(size, io.SeekStart)
	}
	if err == nil {
		err = files.SyncFolder(dir)
	}
	if err != nil {
		file.Close()
		lock.Close()
		return nil, report, err
	}
	j := &Journal{
		dir: dir, lock: lock, file: file, size: size, appended: size,
		batch: newBatch(), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go j.commitLoop()
	return j, report, nil
}

func newBatch() *Batch { return &Batch{done: make(chan struct{})} }

// read replays the file and returns the size of its whole lines.
func read(r io.Reader, replay func([]byte) error) (Report, int64, error) {
	var report Report
	var size int64
	br := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := br.ReadBytes('\n')
		if err == io.EOF {
			report.Torn = len(line) > 0
			return report, size, nil
		}
		if err != nil {
			return report, size, err
		}
		size += int64(len(line))
		record, ok := parseLine(line)
		if !ok || replay(record) != nil {
			report.Damaged++
			continue
		}
		report.Records++
	}
}

func parseLine(line []byte) (record []byte, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) < sumSize || line[sumSize-1] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:sumSize-1]), 16, 32)
	record = line[sumSize:]
	return record, err == nil && uint32(sum) == crc32.Checksum(record, castagnoli)
}

func appendLine(buf, record []byte) []byte {
	const digits = "0123456789abcdef"
	sum := crc32.Checksum(record, castagnoli)
	for shift := 28; shift >= 0; shift -= 4 {
		buf = append(buf, digits[sum>>shift&15])
	}
	buf = append(buf, ' ')
	buf = append(buf, record...)
	return append(buf, '\n')
}

// setAside copies a damaged file, so that nothing a person could still read is lost.
func setAside(dir string, file *os.File) (string, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s.damaged-%d", fileName, time.Now().UnixNano()))
	out, err := files.Open(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, file)
	return path, errors.Join(err, out.Sync(), out.Close())
}

// Append adds a record, in the order of the calls, and returns the batch that
// makes it durable. The record must not hold a newline.
func (j *Journal) Append(record []byte) *Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.broken; err != nil {
		return finished(err)
	}
	if j.closed {
		return finished(ErrClosed)
	}
	before := len(j.buf)
	j.buf = appendLine(j.buf, record)
	j.appended += int64(len(j.buf) - before)
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return j.batch
}

func finished(err error) *Batch {
	b := newBatch()
	b.err = err
	close(b.done)
	return b
}

// commitLoop writes and syncs the records that came while the last sync ran: callers that
// come at the same time share one sync.
func (j *Journal) commitLoop() {
	defer close(j.done)
	for range j.wake {
		j.io.Lock()
		j.commit()
		j.io.Unlock()
	}
	j.io.Lock()
	j.commit()
	j.io.Unlock()
}

// commit is called with io held.
func (j *Journal) commit() {
	j.mu.Lock()
	buf, batch, broken := j.buf, j.batch, j.broken
	if len(buf) == 0 {
		j.mu.Unlock()
		return
	}
	j.buf, j.spare, j.batch = j.spare, nil, newBatch()
	j.mu.Unlock()
	if broken == nil {
		broken = j.write(buf)
	}
	if broken != nil {
		j.fail(broken)
	}
	if cap(buf) <= maxSpare {
		j.mu.Lock()
		j.spare = buf[:0]
		j.mu.Unlock()
	}
	batch.err = broken
	close(batch.done)
}

func (j *Journal) write(buf []byte) error {
	if _, err := j.file.Write(buf); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.size += int64(len(buf))
	j.mu.Lock()
	j.syncs++
	j.mu.Unlock()
	return nil
}

// fail marks the journal as broken: the file lacks appended records. Every append fails
// at once until a compaction has written a whole new file.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = err
}

// Broken returns why appends fail since a write failed, or nil. A compaction mends it.
func (j *Journal) Broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// Size returns the bytes in the file and on the way there.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.appended
}

// Syncs returns how many times the file was synced for appends.
func (j *Journal) Syncs() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncs
}

// Close makes the appended records durable and closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
	<-j.done
	return errors.Join(j.Broken(), j.file.Close(), j.lock.Close())
}
