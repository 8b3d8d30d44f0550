package agent

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/skerryhq/skerry/files"
)

// deadlines keeps when each TTL check runs out, so that after a kill -9 it comes back
// with the time that it had left. A beat that changes nothing must not write to disk, yet
// moves the deadline: so this is a memory-mapped file of 8-byte words, which outlives the
// process in the page cache, and which the system writes back when it likes. Words from
// another run of the system may be old in parts and do not count: checks then have a full
// TTL.
//
// A word is a time in milliseconds (44 bits) with a checksum over it and its place
// (20 bits): one that is damaged does not count either. Times are of the monotonic
// clock, counted from the wall clock at the process's start, so that a step of the
// wall clock brings no deadline nearer.
//
// The first words are a head: when this process was last known to run, from where the
// time left is counted, since an agent that is down takes no beats; and the system's run.
// Slots are counted from 1.
type deadlines struct {
	base time.Time
	file *os.File // nil: keep nothing
	mem  []byte
	idle []int32
	next int32
}

const (
	noSlot        = int32(0)
	maxSlot       = 1 << 24 // more is nonsense
	wordSize      = 8
	headWords     = 8 // alive, boot, and some in reserve; slot 1 follows
	firstWords    = 4096
	aliveWord     = 0
	bootWord      = 1
	deadlinesFile = "deadlines"
)

func openDeadlines(dir string) (*deadlines, error) {
	d := &deadlines{next: 1, base: time.Now()}
	if dir == "" {
		return d, nil
	}
	file, err := files.Open(filepath.Join(dir, deadlinesFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open deadlines: %w", err)
	}
	d.file = file
	if err := d.grow(1); err != nil {
		file.Close()
		return nil, fmt.Errorf("open deadlines: %w", err)
	}
	return d, nil
}

// take marks the slots that are in use after a replay, and frees the others.
func (d *deadlines) take(used map[int32]*checkState) {
	for slot := range used {
		d.next = max(d.next, slot+1)
	}
	for slot := int32(1); slot < d.next; slot++ {
		if used[slot] == nil {
			d.idle = append(d.idle, slot)
		}
	}
}

// holds reports whether the file has this slot.
func (d *deadlines) holds(slot int32) bool {
	return slot > 0 && headWords+int(slot) <= len(d.mem)/wordSize
}

// grow makes room for slots up to n.
func (d *deadlines) grow(n int32) error {
	size := max(firstWords*wordSize, len(d.mem))
	for size < (headWords+int(n))*wordSize {
		size *= 2
	}
	if size == len(d.mem) {
		return nil
	}
	if fi, err := d.file.Stat(); err == nil && fi.Size() > int64(size) {
		size = int(min(fi.Size(), maxSlot*wordSize)) / wordSize * wordSize
	}
	mem, err := files.Map(d.file, size)
	if err != nil {
		return err
	}
	if d.mem != nil {
		err = files.Unmap(d.mem)
	}
	d.mem = mem
	return err
}

// alloc returns a slot that holds t. Called with the agent's mu held.
func (d *deadlines) alloc(t time.Time) int32 {
	if d.mem == nil {
		return noSlot
	}
	slot := d.next
	if n := len(d.idle); n > 0 {
		slot, d.idle = d.idle[n-1], d.idle[:n-1]
	} else {
		if slot >= maxSlot || d.grow(slot) != nil {
			return noSlot // a full disk: the check has a full TTL after a restart
		}
		d.next++
	}
	d.set(slot, t)
	return slot
}

func (d *deadlines) free(slot int32) {
	if slot != noSlot {
		d.idle = append(d.idle, slot)
	}
}

// set notes a deadline. Called with mu held, for reading at least: words are
// written whole and each by the beats of its own check.
func (d *deadlines) set(slot int32, t time.Time) {
	if slot != noSlot && d.mem != nil {
		d.store(headWords+int(slot)-1, t)
	}
}

// word returns a word of the file; the mapping is page-aligned, so it is aligned too.
func (d *deadlines) word(n int) *int64 {
	return (*int64)(unsafe.Pointer(&d.mem[n*wordSize]))
}

// left returns how long a slot's check had when the process before ended. ok is
// false if that is not known.
func (d *deadlines) left(slot int32) (left time.Duration, ok bool) {
	alive, known := d.load(aliveWord)
	at, ok := d.load(headWords + int(slot) - 1)
	return time.Duration(at-alive) * time.Millisecond, known && ok && *d.word(bootWord) == bootID()
}

// sumBits is how many bits of a word are its checksum.
const sumBits = 20

func (d *deadlines) store(n int, t time.Time) {
	// The monotonic clock of both, where they have one.
	ms := d.base.UnixMilli() + t.Sub(d.base).Milliseconds()
	atomic.StoreInt64(d.word(n), sealWord(n, ms))
}

// load returns the time in a word in milliseconds; ok is false when it has none.
func (d *deadlines) load(n int) (ms int64, ok bool) {
	w := atomic.LoadInt64(d.word(n))
	ms = int64(uint64(w) >> sumBits)
	return ms, ms != 0 && w == sealWord(n, ms)
}

// sealWord makes the word at a place of a time. A time before 1970 or after 2500 is
// none that can be read again.
func sealWord(n int, ms int64) int64 {
	// The mixing of MurmurHash3: a beat must allocate nothing, and crc32 would.
	h := uint64(ms) + uint64(n)*0x9e3779b97f4a7c15
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return ms<<sumBits | int64((h^h>>33)>>(64-sumBits))
}

// touch notes that this process runs.
func (d *deadlines) touch(now time.Time) {
	if d.mem != nil {
		atomic.StoreInt64(d.word(bootWord), bootID())
		d.store(aliveWord, now)
	}
}

func (d *deadlines) close() error {
	if d == nil || d.mem == nil {
		return nil
	}
	d.touch(time.Now())
	mem := d.mem
	d.mem = nil
	return errors.Join(files.Unmap(mem), d.file.Close())
}

var boot atomic.Int64

// bootID identifies this run of the system; where that is unknown, all runs are one.
func bootID() int64 {
	if id := boot.Load(); id != 0 {
		return id
	}
	h := fnv.New64a()
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	h.Write(text)
	boot.Store(int64(h.Sum64() | 1))
	return boot.Load()
}
