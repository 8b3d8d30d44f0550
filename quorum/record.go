package quorum

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/skerryhq/skerry"
)

// A record in etcd is a mark, a checksum and the value:
//
//	fe f5 ff c1 | CRC-32C, 4 bytes, big endian | value
//
// The checksum is over the lease (8 bytes, big endian), the length of the key (4
// bytes, big endian), the key without its generation's prefix, and the value. The
// last byte of the mark is the version of the form. Nothing else in this package
// knows it.
const (
	recordMark = "\xfe\xf5\xff\xc1"
	recordHead = len(recordMark) + crc32.Size
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func recordSum(key string, value []byte, lease skerry.LeaseID) uint32 {
	// The key is copied in pieces, so that it takes no memory.
	var buf [512]byte
	binary.BigEndian.PutUint64(buf[:], uint64(lease))
	binary.BigEndian.PutUint32(buf[8:], uint32(len(key)))
	n := 12 + copy(buf[12:], key)
	sum := crc32.Update(0, castagnoli, buf[:n])
	for key = key[n-12:]; len(key) > 0; key = key[n:] {
		n = copy(buf[:], key)
		sum = crc32.Update(sum, castagnoli, buf[:n])
	}
	return crc32.Update(sum, castagnoli, value)
}

// encodeRecord returns the bytes that etcd keeps of a value.
func encodeRecord(key string, value []byte, lease skerry.LeaseID) string {
	var b strings.Builder
	b.Grow(recordHead + len(value))
	b.WriteString(recordMark)
	var sum [crc32.Size]byte
	binary.BigEndian.PutUint32(sum[:], recordSum(key, value, lease))
	b.Write(sum[:])
	b.Write(value)
	return b.String()
}

// soundness is the state of a record.
type soundness int

const (
	sound    soundness = iota // as it was written
	unmarked                  // of a version that wrote no checksums: it cannot be verified
	damaged
)

// decodeRecord returns the value that was written. It shares b's bytes.
func decodeRecord(key string, b []byte, lease skerry.LeaseID) ([]byte, soundness) {
	if len(b) >= recordHead && string(b[:len(recordMark)]) == recordMark {
		value := b[recordHead:]
		if binary.BigEndian.Uint32(b[len(recordMark):]) != recordSum(key, value, lease) {
			return nil, damaged
		}
		return value, sound
	}
	// Earlier versions wrote text, or an entry that begins with its version, 1. Neither
	// begins like the mark, even if a bit of it has flipped.
	if len(b) == 0 || b[0] == 1 || utf8.Valid(b) {
		return b, unmarked
	}
	return nil, damaged
}

// damage is which records of the table are damaged now.
type damage struct {
	mu   sync.Mutex
	keys map[string]bool // whether the log has it
	news chan struct{}   // has an element after a record came that is damaged
	told atomic.Int64    // log lines about it
}

// maxTold bounds the log lines of one process about damaged records; the metric
// has them all.
const maxTold = 1000

func (d *damage) reset(all []*skerry.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = map[string]bool{}
	for _, r := range all {
		if r.Damage != nil {
			d.keys[r.Key] = false
		}
	}
}

// note takes in a change of a key; r is nil when it was removed.
func (d *damage) note(key string, r *skerry.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r != nil && r.Damage != nil {
		d.keys[key] = false
		select {
		case d.news <- struct{}{}:
		default:
		}
	} else if len(d.keys) > 0 {
		delete(d.keys, key)
	}
}

// tells reports whether a damaged record is to be logged: once.
func (d *damage) tells(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	told, is := d.keys[key]
	if is {
		d.keys[key] = true
	}
	return is && !told && d.told.Add(1) <= maxTold
}

// list returns the keys of the damaged records.
func (d *damage) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.keys))
}

func (d *damage) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.keys)
}

// file names where the records are, for errors: within the data folder, or the
// cluster of others.
func (s *Store) file() string {
	if s.member == nil {
		return "etcd at " + strings.Join(s.client.Endpoints(), ", ")
	}
	return filepath.Join(filepath.Base(s.member.dir), memberFile)
}

// path is file with the whole path of the member's, for the log.
func (s *Store) path() string {
	if s.member == nil {
		return s.file()
	}
	return filepath.Join(s.member.dir, memberFile)
}

// memberFile is the data file in a member's folder.
const memberFile = "member/snap/db"
