package kv

import (
	"encoding/binary"
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// entryVersion is the first byte of an entry's record. The entry's other fields follow,
// then the user's bytes.
const entryVersion = 1

func encode(e *skerry.KeyValue) []byte {
	b := make([]byte, 0, 1+2*binary.MaxVarintLen64+1+len(e.Session)+len(e.Value))
	b = append(b, entryVersion)
	b = binary.AppendUvarint(b, e.Flags)
	b = binary.AppendUvarint(b, e.LockIndex)
	b = append(b, byte(len(e.Session)))
	b = append(b, e.Session...)
	return append(b, e.Value...)
}

// decode returns the entry in a record. The entry shares the record's bytes.
func decode(r *skerry.Record) (skerry.KeyValue, error) {
	e := skerry.KeyValue{Key: r.Key[len(record.Entries):], Created: r.Created, Modified: r.Modified}
	if r.Damage != nil {
		return e, r.Damage
	}
	b := r.Value
	if len(b) == 0 || b[0] != entryVersion {
		return e, fmt.Errorf("the key %q was written by another version of skerry", e.Key)
	}
	flags, n := binary.Uvarint(b[1:])
	lockIndex, m := binary.Uvarint(b[1+max(n, 0):])
	at := 1 + n + m
	if n <= 0 || m <= 0 || at >= len(b) || at+1+int(b[at]) > len(b) {
		return e, fmt.Errorf("the key %q is damaged in the store", e.Key)
	}
	e.Flags, e.LockIndex = flags, lockIndex
	e.Session = string(b[at+1 : at+1+int(b[at])])
	if value := b[at+1+int(b[at]):]; len(value) > 0 {
		e.Value = value
	}
	return e, nil
}

// get returns the entry of a key as a transaction sees it, or nil.
func get(tx skerry.Tx, key string) (*skerry.KeyValue, error) {
	r := tx.Get(record.Entries + key)
	if r == nil {
		return nil, nil
	}
	e, err := decode(r)
	return &e, err
}

// put writes an entry unless it is there already. Writing the same entry again moves no
// index and wakes no watcher.
func put(tx skerry.Tx, was, next *skerry.KeyValue) *skerry.KeyValue {
	next.Created, next.Modified = 0, 0
	if was != nil {
		if was.Flags == next.Flags && was.LockIndex == next.LockIndex && was.Session == next.Session && string(was.Value) == string(next.Value) {
			return was
		}
		next.Created = was.Created
	}
	tx.Put(record.Entries+next.Key, encode(next), 0)
	return next
}

func remove(tx skerry.Tx, was *skerry.KeyValue) {
	tx.Delete(record.Entries + was.Key)
	if was.Session != "" {
		tx.Delete(record.HeldKey(was.Session, was.Key))
	}
}
