package kvtest

import (
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// each is records without an error.
func each(records []skerry.Record) iter.Seq2[skerry.Record, error] {
	return func(yield func(skerry.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// replaced comes last: it deletes the records of the others.
func replaced(t *testing.T, w *world) {
	r, ok := w.kv.(skerry.Replacer)
	if !ok {
		t.Skip("this KV is no Replacer")
	}
	w.put("old", "1")
	lease, err := w.kv.Grant(w.ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, changed := w.kv.Watch(skerry.Below(w.root))
	before := w.kv.Snapshot().Index()
	atLeast := before + 1000
	var records []skerry.Record
	for i := range 1500 {
		records = append(records, skerry.Record{Key: fmt.Sprintf("%s%05d", w.root, i), Value: []byte("new")})
	}
	records[0].Lease = lease
	broken := errors.New("broken")
	failing := func(yield func(skerry.Record, error) bool) {
		_ = yield(records[1], nil) && yield(skerry.Record{}, broken)
	}
	if err := r.Replace(w.ctx, atLeast, failing); !errors.Is(err, broken) || w.value("old") != "1" || w.value("00001") != "-" {
		t.Errorf("records that end with an error: %v; old is %q", err, w.value("old"))
	}
	if err := r.Replace(w.ctx, atLeast, each(records)); err != nil {
		t.Fatalf("replace: %v", err)
	}
	if got := len(w.keys("")); got != len(records) || w.value("old") != "-" || w.value("01499") != "new" {
		t.Errorf("%d keys, want %d; old is %q", got, len(records), w.value("old"))
	}
	if !closed(changed) {
		t.Error("a watcher was not woken")
	}
	s := w.kv.Snapshot()
	first := s.Get(w.root + "00000")
	if s.Index() <= atLeast || first.Modified <= before || first.Lease != lease {
		t.Errorf("index %d modified %d lease %d, want an index above %d, modified above %d, lease %d", s.Index(), first.Modified, first.Lease, atLeast, before, lease)
	}
	if index := w.put("after", "1"); index <= s.Index() {
		t.Errorf("index %d after %d", index, s.Index())
	}
	w.update(func(tx skerry.Tx) error {
		if r := tx.Get(w.root + "00001"); r == nil || string(r.Value) != "new" {
			t.Errorf("00001 is %v", r)
		}
		tx.Put(w.root+"00001", []byte("newer"), 0)
		return nil
	})
	w.want("00001", "newer")
	if err := w.kv.Revoke(w.ctx, lease); err != nil {
		t.Fatal(err)
	}
	w.gone("00000")
}
