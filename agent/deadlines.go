package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// deadlines keeps when each TTL check runs out, so that after a kill -9 it comes
// back with the time that it had left. A beat that changes nothing must not
// write to disk, yet moves the deadline: so this is a memory-mapped file of
// 8-byte slots, which outlives the process in the page cache, and which the
// system writes back when it likes. After a power cut a deadline may be old; its
// check then has a full TTL.
//
// Slot 0 holds when this process was last known to run: the time left is counted
// from there, since nobody can beat an agent that is down.
type deadlines struct {
	file *os.File // nil: keep nothing
	mem  []byte
	idle []int32
	next int32
}

const (
	noSlot        = int32(0)
	slotSize      = 8
	firstSlots    = 4096
	deadlinesFile = "deadlines"
)

// openDeadlines maps the file and works out the time left of what was replayed.
func (a *Agent) openDeadlines() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deadlines = &deadlines{next: 1}
	if a.cfg.Dir == "" {
		return nil
	}
	d := a.deadlines
	file, err := os.OpenFile(filepath.Join(a.cfg.Dir, deadlinesFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open deadlines: %w", err)
	}
	d.file = file
	used := map[int32]*checkState{}
	for _, cs := range a.checks {
		switch {
		case !cs.isTTL():
			cs.slot = noSlot
		case cs.slot > 0 && used[cs.slot] == nil:
			used[cs.slot] = cs
			d.next = max(d.next, cs.slot+1)
		default:
			cs.slot = noSlot
		}
	}
	if err := d.grow(d.next); err != nil {
		return err
	}
	alive := d.get(0)
	for slot, cs := range used {
		left := d.get(slot).Sub(alive)
		if alive.IsZero() || left <= 0 || left > cs.def.TTL {
			left = cs.def.TTL
			if cs.check.Status == "critical" {
				left = 0 // it had run out
			}
		}
		a.resume[cs.check.ID] = left
	}
	for slot := int32(1); slot < d.next; slot++ {
		if used[slot] == nil {
			d.idle = append(d.idle, slot)
		}
	}
	for _, cs := range a.checks {
		if cs.isTTL() && cs.slot == noSlot {
			cs.slot = d.alloc(time.Now().Add(cs.def.TTL))
		}
	}
	d.touch(time.Now())
	return nil
}

// grow makes room for slots up to n.
func (d *deadlines) grow(n int32) error {
	size := max(firstSlots*slotSize, len(d.mem))
	for size < int(n+1)*slotSize {
		size *= 2
	}
	if size == len(d.mem) {
		return nil
	}
	if fi, err := d.file.Stat(); err == nil && fi.Size() > int64(size) {
		size = int(fi.Size()) / slotSize * slotSize
	}
	if err := d.file.Truncate(int64(size)); err != nil {
		return err
	}
	mem, err := syscall.Mmap(int(d.file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	if d.mem != nil {
		err = syscall.Munmap(d.mem)
	}
	d.mem = mem
	return err
}

// alloc returns a slot that holds t. Called with mu held.
func (d *deadlines) alloc(t time.Time) int32 {
	if d.file == nil {
		return noSlot
	}
	slot := d.next
	if n := len(d.idle); n > 0 {
		slot, d.idle = d.idle[n-1], d.idle[:n-1]
	} else {
		if d.grow(slot) != nil {
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

// set notes a deadline. Called with mu held, for reading at least: slots are
// written whole and each by the beats of its own check.
func (d *deadlines) set(slot int32, t time.Time) {
	if slot != noSlot && d.mem != nil {
		atomic.StoreInt64(d.at(slot), t.UnixNano())
	}
}

// at returns a slot's word; the mapping is page-aligned, so it is aligned too.
func (d *deadlines) at(slot int32) *int64 {
	return (*int64)(unsafe.Pointer(&d.mem[int(slot)*slotSize]))
}

func (d *deadlines) get(slot int32) time.Time {
	ns := atomic.LoadInt64(d.at(slot))
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// touch notes that this process runs.
func (d *deadlines) touch(now time.Time) {
	if d.mem != nil {
		atomic.StoreInt64(d.at(0), now.UnixNano())
	}
}

func (d *deadlines) close() error {
	if d == nil || d.file == nil {
		return nil
	}
	d.touch(time.Now())
	mem := d.mem
	d.mem = nil
	return errors.Join(syscall.Munmap(mem), d.file.Close())
}
