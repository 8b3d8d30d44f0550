package archive

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

func sample(t testing.TB, n int) ([]byte, []Record) {
	var records []Record
	for i := range n {
		records = append(records, Record{Key: fmt.Sprintf("kv/%d", i), Value: []byte{byte(i), 0, 255}, Created: 1, Modified: uint64(i)})
	}
	records = append(records, Record{Key: "session/x", Value: []byte("{}")})
	var out bytes.Buffer
	if err := Write(&out, Meta{ID: "x", Index: 7, Taken: time.Unix(1, 0)}, slices.Values(records)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), records
}

func read(b []byte) (Meta, []Record, error) {
	var got []Record
	meta, err := Read(bytes.NewReader(b), func(r Record) error { got = append(got, r); return nil })
	return meta, got, err
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	b, want := sample(t, 100)
	meta, got, err := read(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("read %d records, error %v; want %d", len(got), err, len(want))
	}
	if meta.Index != 7 || meta.Records != 101 || meta.Kinds["kv"] != 100 || meta.Kinds["session"] != 1 {
		t.Errorf("meta %+v", meta)
	}
}

// No change of one byte, and no cut, goes unseen.
func TestDamageIsSeen(t *testing.T) {
	b, want := sample(t, 20)
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x41
		// Some bytes of a gzip header mean nothing: then all must still be read.
		if _, got, err := read(c); err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("byte %d changed, and other records were read without an error", i)
		}
		if _, _, err := read(b[:i]); err == nil {
			t.Errorf("cut to %d of %d bytes, and read without an error", i, len(b))
		}
	}
}

func FuzzRead(f *testing.F) {
	b, _ := sample(f, 3)
	f.Add(b)
	f.Add([]byte("not a snapshot"))
	f.Fuzz(func(t *testing.T, b []byte) { read(b) })
}
