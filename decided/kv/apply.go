package kv

import (
	"errors"
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// Missing returns the error of a read that finds no entry.
func Missing(key string) error { return fmt.Errorf("key %q doesn't exist", key) }

// Empty returns the entry that [skerry.KeyGetOrEmpty] gives for a key without an entry.
func Empty(key string) *skerry.KeyValue { return &skerry.KeyValue{Key: key, Value: []byte{}} }

// IsEmpty reports whether an entry is one that [Empty] returned.
func IsEmpty(e *skerry.KeyValue) bool { return e.Value != nil && len(e.Value) == 0 }

// Apply does one operation within a transaction. It returns the entries that were read,
// or the entry as it is after the write. An error refuses the transaction; its text is
// Consul's.
func Apply(tx skerry.Tx, op *skerry.KeyOp) ([]skerry.TxnResult, error) {
	if op.Action.Reads() {
		return read(tx, op)
	}
	switch op.Action {
	case skerry.KeyAcquire, skerry.KeyRelease:
		if op.Session == "" {
			return nil, errors.New("missing session")
		}
	}
	if op.Key == "" && op.Action != skerry.KeyDeleteAll {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide key")
	}
	now, done, err := write(tx, op)
	if err != nil {
		return nil, err
	}
	if !done {
		switch op.Action {
		case skerry.KeyCAS:
			return nil, fmt.Errorf("failed to set key %q, index is stale", op.Key)
		case skerry.KeyDeleteCAS:
			return nil, fmt.Errorf("failed to delete key %q, index is stale", op.Key)
		case skerry.KeyAcquire:
			return nil, fmt.Errorf("failed to lock key %q, lock is already held", op.Key)
		default:
			return nil, fmt.Errorf("failed to unlock key %q, lock isn't held, or is held by another session", op.Key)
		}
	}
	if now == nil {
		return nil, nil
	}
	// The client knows the value that it wrote.
	short := *now
	short.Value = nil
	return []skerry.TxnResult{{Key: &short}}, nil
}

func read(tx skerry.Tx, op *skerry.KeyOp) ([]skerry.TxnResult, error) {
	if op.Action == skerry.KeyGetAll {
		var out []skerry.TxnResult
		for _, r := range tx.All(record.Entries + op.Key) {
			e, err := decode(r)
			if err != nil {
				return nil, err
			}
			out = append(out, skerry.TxnResult{Key: &e})
		}
		return out, nil
	}
	e, err := get(tx, op.Key)
	if err != nil {
		return nil, err
	}
	switch op.Action {
	case skerry.KeyGet:
		if e == nil {
			return nil, Missing(op.Key)
		}
		return []skerry.TxnResult{{Key: e}}, nil
	case skerry.KeyGetOrEmpty:
		if e == nil {
			e = Empty(op.Key)
		}
		return []skerry.TxnResult{{Key: e}}, nil
	case skerry.KeyCheckAbsent:
		if e != nil {
			return nil, fmt.Errorf("key %q exists", op.Key)
		}
		return nil, nil
	case skerry.KeyCheckIndex:
		if e == nil {
			return nil, fmt.Errorf("failed to check index, key %q doesn't exist", op.Key)
		}
		if e.Modified != op.Modified {
			return nil, fmt.Errorf("failed index check for key %q, current modify index %d != %d", op.Key, e.Modified, op.Modified)
		}
	case skerry.KeyCheckSession:
		if e == nil {
			return nil, fmt.Errorf("failed to check session, key %q doesn't exist", op.Key)
		}
		if e.Session != op.Session {
			return nil, fmt.Errorf("failed session check for key %q, current session %q != %q", op.Key, e.Session, op.Session)
		}
	}
	short := *e
	short.Value = nil
	return []skerry.TxnResult{{Key: &short}}, nil
}
