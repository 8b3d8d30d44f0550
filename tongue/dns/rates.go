package dns

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// The table of rates has a fixed size. A row of an idle client network is reused without
// a loss. If all rows of a set are busy, the one closest to idle is reused.
const (
	rateSets   = 8192
	rateWays   = 8
	rateWindow = 15 * time.Second // how long a flood is remembered after its end
)

// answerKind is the kind by which answers are counted, besides the client's network.
type answerKind uint8

const (
	kindAnswered answerKind = iota // records of ours
	kindNothing                    // the name or the type does not exist
	kindFailed                     // refusals and errors
	kindForeign                    // answers of recursors
)

// verdict is the decision about an answer.
type verdict uint8

const (
	unjudged  verdict = iota
	passed            // it is sent
	truncated         // an empty answer is sent, so that a real client asks again by TCP or with its cookie
	dropped           // nothing is sent
)

// rates counts answers over UDP by client network and kind, as BIND's response-rate
// limiting does. Each has a credit of one second of answers. Answers beyond it count as a
// debt, up to the window, so that a flood gets no full answer while it lasts.
type rates struct {
	seed maphash.Seed
	sets [rateSets]rateSet
}

type rateSet struct {
	mu   sync.Mutex
	rows [rateWays]rateRow
}

type rateRow struct {
	key  uint64        // 0: not used
	due  time.Duration // when the debt is paid off
	over uint32        // answers over the limit in a row
}

func newRates() *rates { return &rates{seed: maphash.MakeSeed()} }

// take counts one answer. now is a time on any clock that does not go back.
func (r *rates) take(key uint64, now time.Duration, perSecond, slip int) verdict {
	set := &r.sets[maphash.Comparable(r.seed, key)%rateSets]
	set.mu.Lock()
	defer set.mu.Unlock()
	row := set.row(key)
	row.due = max(row.due, now) + time.Second/time.Duration(perSecond)
	if row.due <= now+time.Second {
		row.over = 0
		return passed
	}
	row.due = min(row.due, now+time.Second+rateWindow)
	row.over++
	if slip > 0 && row.over%uint32(slip) == 0 {
		return truncated
	}
	return dropped
}

// row returns the key's row, or reuses the row that is due first.
func (s *rateSet) row(key uint64) *rateRow {
	first := &s.rows[0]
	for i := range s.rows {
		row := &s.rows[i]
		if row.key == key {
			return row
		}
		if row.due < first.due {
			first = row
		}
	}
	*first = rateRow{key: key}
	return first
}

// rateKey encodes the client's network, /24 or /56, and the kind of the answer. It is
// never 0, and unique for each pair.
func rateKey(ip netip.Addr, kind answerKind) uint64 {
	if ip.Is4() {
		b := ip.As4()
		return uint64(4<<4|kind)<<56 | uint64(binary.BigEndian.Uint32(b[:])>>8)
	}
	b := ip.As16()
	return uint64(6<<4|kind)<<56 | binary.BigEndian.Uint64(b[:8])>>8
}
