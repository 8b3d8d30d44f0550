package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
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
	if err := Write(&out, Meta{ID: "x", Index: 7, Taken: time.Unix(1, 0)}, each(records)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), records
}

// each is records without an error.
func each(records []Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func read(b []byte) (Meta, []Record, error) {
	var got []Record
	meta, err := Read(bytes.NewReader(b), 0, func(r Record) error { got = append(got, r); return nil })
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

func TestTooLargeIsRefusedUnread(t *testing.T) {
	b, _ := sample(t, 1000)
	_, err := Read(bytes.NewReader(b), 1000, func(Record) error { t.Fatal("a record was read"); return nil })
	if err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Errorf("error %v", err)
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

// What is packed and summed rightly may still be anything.
func FuzzParts(f *testing.F) {
	f.Add(`{"version":1,"index":7,"records":2}`, `{"key":"kv/a","value":"YQ==","created":1,"modified":2}`+"\n"+`{"key":"session/x"}`+"\n")
	f.Add(`{"version":2}`, "")
	f.Add(`{"version":1,"records":9000000000000000000}`, `{"key":"a"}`+"\n"+`{"key":"a"}`+"\n\n")
	f.Add(`{"version":1,"records":-1,"kinds":{"kv":1}}`, `null{}[`)
	f.Add(`{"version":1,"records":1}`, `{"key":7,"value":"*"}`)
	f.Fuzz(func(t *testing.T, meta, records string) {
		m, got, err := read(pack(t, meta, records))
		if err != nil {
			return
		}
		if m.Version != Version || m.Records != len(got) {
			t.Errorf("%d records were taken of %+v", len(got), m)
		}
		var again bytes.Buffer
		if err := Write(&again, m, each(got)); err != nil {
			t.Fatal(err)
		}
		if _, back, err := read(again.Bytes()); err != nil || !reflect.DeepEqual(back, got) {
			t.Errorf("%q is read as %+v, and written and read again as %+v, %v", records, got, back, err)
		}
	})
}

// pack makes an archive of these parts.
func pack(t *testing.T, meta, records string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	sums := fmt.Sprintf("%x  %s\n%x  %s\n", sha256.Sum256([]byte(meta)), metaName, sha256.Sum256([]byte(records)), recordsName)
	for _, part := range [][2]string{{metaName, meta}, {recordsName, records}, {sumsName, sums}} {
		if err := w.WriteHeader(&tar.Header{Name: part[0], Mode: 0o600, Size: int64(len(part[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(part[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
