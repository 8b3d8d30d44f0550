package catalog

import "time"

// An index is at most 2^53, so that JavaScript and Lua clients keep it exact:
//
//	29 bits: start of the server, in units of 4 s since 2026
//	18 bits: changes since, carrying into the bits above
//	 6 bits: the server's tag
//
// The counter may carry: as long as a server sees fewer than 65,000 changes a
// second on average, its next start is above all indexes that it issued. The
// persisted last index covers a clock that went back.
const (
	tagBits   = 6
	indexStep = 1 << tagBits
	startBits = 24 // below the start
	startUnit = 4 * time.Second
	maxIndex  = 1<<53 - 1
)

var indexEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// FirstIndex returns the first index of a server that starts now. tag distinguishes
// servers (6 bits count); last is the greatest known index of an earlier run, or 0.
func FirstIndex(now time.Time, tag uint8, last uint64) uint64 {
	units := uint64(max(now.Sub(indexEpoch)/startUnit, 1))
	first := units << startBits
	if first <= last {
		first = (last>>startBits + 1) << startBits
	}
	if first > maxIndex-1<<48 { // in the year 2092, or last was nonsense
		first = 1 << startBits
	}
	return first | uint64(tag)%indexStep
}

// Index returns the last index issued.
func (t *Table) Index() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.index
}

// Issue returns the next index, for a change outside of the table that its readers see.
func (t *Table) Issue() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next()
}

// Foreign implements [skerry.Catalog].
func (t *Table) Foreign(index uint64) bool {
	if index%indexStep != t.cfg.FirstIndex%indexStep || index < t.cfg.FirstIndex {
		return true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return index > t.index
}
