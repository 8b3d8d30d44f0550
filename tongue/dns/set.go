package dns

import "encoding/binary"

// kind is one of the prepared forms of a service's answer.
type kind uint8

const (
	kindA     kind = iota // A
	kindAAAA              // AAAA
	kindAny               // ANY and TXT: the addresses of both families
	kindSRV               // SRV
	kindCNAME             // CNAME
	kinds
)

func (k kind) String() string {
	return [...]string{"a", "aaaa", "any", "srv", "cname"}[k]
}

// set is a service's prepared answer: a header, a table of units, and the packed
// records that the table points into. It is bytes and not structs because it is
// kept in the view's memo; all numbers are little-endian except those within records.
//
// A unit is one record of the answer section with its records in the additional
// section. Answer records are whole, their owner a pointer to the question.
// Additional records lack the owner, which is the SRV target.
type set []byte

const (
	setHeader = 24
	unitSize  = 32
	// answerHead is the size of a packed answer record before its data: the
	// pointer, type, class, TTL and length.
	answerHead = 2 + recordHead
	recordHead = 10
	srvTarget  = answerHead + 6 // where the target's name begins in a SRV record
)

// selected counts the instances that the query selects, with or without a record of
// this kind.
func (s set) selected() int { return int(binary.LittleEndian.Uint32(s)) }

// count counts the units.
func (s set) count() int { return int(binary.LittleEndian.Uint32(s[4:])) }

// answerBytes is the size of all answer records.
func (s set) answerBytes() int { return int(binary.LittleEndian.Uint32(s[8:])) }

// addressBytes is the size of all address records in the additional section,
// their owners as pointers; with fullNames, written in full.
func (s set) addressBytes(fullNames bool) int {
	if fullNames {
		return int(binary.LittleEndian.Uint32(s[16:]))
	}
	return int(binary.LittleEndian.Uint32(s[12:]))
}

// hosts reports whether some unit leads to a host name outside the catalog.
func (s set) hosts() bool { return s[20]&1 != 0 }

// keepOrder makes answers name the units in their order, the first ones when
// there is no room for all.
func (s set) keepOrder() { s[20] |= 2 }

func (s set) ordered() bool { return s[20]&2 != 0 }

func (s set) unit(i int) unit { return unit(s[setHeader+i*unitSize:][:unitSize]) }

func (s set) answer(u unit) []byte {
	at := u.u32(8)
	return s[at:][:u.u16(20):u.u16(20)]
}

// addresses returns the additional address records without their owners.
func (s set) addresses(u unit) []byte {
	at := u.u32(12)
	return s[at:][:u.u16(22)]
}

// texts returns the additional TXT records without their owners.
func (s set) texts(u unit) []byte {
	at := u.u32(16)
	return s[at:][:u.u32(24)]
}

// unit is one row of the table.
type unit []byte

// hash names the unit across versions and servers.
func (u unit) hash() uint64 { return binary.LittleEndian.Uint64(u) }

// first is the first unit with the same target; its additional records are those of all.
func (u unit) first() int { return int(u.u32(28)) }

func (u unit) u16(at int) uint16 { return binary.LittleEndian.Uint16(u[at:]) }
func (u unit) u32(at int) uint32 { return binary.LittleEndian.Uint32(u[at:]) }

// nextRecord splits records that lack their owners.
func nextRecord(b []byte) (rr, rest []byte) {
	n := recordHead + int(binary.BigEndian.Uint16(b[8:]))
	return b[:n], b[n:]
}

// setWriter makes a set.
type setWriter struct {
	units   []pendingUnit
	records map[string]int // answer record → its unit: no record is answered twice
	targets map[string]int // SRV target → the first unit with it
	hosts   bool
}

type pendingUnit struct {
	hash      uint64
	answer    []byte
	addresses []byte
	texts     []byte
	first     int
}

// add adds a unit unless its answer record is already there.
func (w *setWriter) add(u pendingUnit) {
	if _, ok := w.records[string(u.answer)]; ok {
		return
	}
	at := len(w.units)
	w.records[string(u.answer)] = at
	u.first = at
	if len(u.addresses) > 0 {
		target := string(u.answer[srvTarget:])
		if first, ok := w.targets[target]; ok {
			u.first = first
			u.addresses, u.texts = w.units[first].addresses, w.units[first].texts
		} else {
			w.targets[target] = at
		}
	}
	w.units = append(w.units, u)
}

func (w *setWriter) bytes(selected int) []byte {
	var answers, pointers, full int
	size := setHeader + unitSize*len(w.units)
	for i, u := range w.units {
		answers += len(u.answer)
		size += len(u.answer)
		if u.first != i {
			continue
		}
		size += len(u.addresses) + len(u.texts)
		for rest := u.addresses; len(rest) > 0; {
			var rr []byte
			rr, rest = nextRecord(rest)
			pointers += 2 + len(rr)
			full += len(u.answer) - srvTarget + len(rr)
		}
	}
	le := binary.LittleEndian
	out := make([]byte, setHeader+unitSize*len(w.units), size)
	le.PutUint32(out, uint32(selected))
	le.PutUint32(out[4:], uint32(len(w.units)))
	le.PutUint32(out[8:], uint32(answers))
	le.PutUint32(out[12:], uint32(pointers))
	le.PutUint32(out[16:], uint32(full))
	if w.hosts {
		out[20] = 1
	}
	for i, u := range w.units {
		row := out[setHeader+i*unitSize:]
		le.PutUint64(row, u.hash)
		le.PutUint16(row[20:], uint16(len(u.answer)))
		le.PutUint16(row[22:], uint16(len(u.addresses)))
		le.PutUint32(row[24:], uint32(len(u.texts)))
		le.PutUint32(row[28:], uint32(u.first))
		le.PutUint32(row[8:], uint32(len(out)))
		out = append(out, u.answer...)
		if u.first != i {
			copy(out[setHeader+i*unitSize+12:][:8], out[setHeader+u.first*unitSize+12:][:8])
			continue
		}
		row = out[setHeader+i*unitSize:]
		le.PutUint32(row[12:], uint32(len(out)))
		out = append(out, u.addresses...)
		le.PutUint32(out[setHeader+i*unitSize+16:], uint32(len(out)))
		out = append(out, u.texts...)
	}
	return out
}
