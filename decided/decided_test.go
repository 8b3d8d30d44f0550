package decided

import (
	"bytes"
	"slices"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/keyspace"
)

func save(t *testing.T, s *Store) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, _, err := s.SaveSnapshot(&out, archive.Meta{Software: "test"}, false); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func restore(t *testing.T, s *Store, saved []byte) {
	t.Helper()
	if _, err := s.RestoreSnapshot(t.Context(), bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s *Store, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, err := s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: k, Value: []byte(k), Flags: 1 << 63}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysAreCutAtTheSeparator(t *testing.T) {
	s := &Store{KV: keyspace.NewMemory()}
	put(t, s, "a", "a/", "a/1", "a/2/x", "a/2/y", "a/2\xff", "a//z", "b")
	for _, c := range []struct {
		prefix, separator string
		want              []string
	}{
		{"", "", []string{"a", "a/", "a/1", "a/2/x", "a/2/y", "a/2\xff", "a//z", "b"}},
		{"", "/", []string{"a", "a/", "b"}},
		{"a/", "/", []string{"a/", "a/1", "a/2/", "a/2\xff", "a//"}},
		{"a/2", "/", []string{"a/2/", "a/2\xff"}},
		{"a/2", "2", []string{"a/2/x", "a/2/y", "a/2\xff"}},
		{"none", "/", []string{}},
	} {
		got, _, _ := s.Keys(c.prefix, c.separator, nil)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("keys of %q at %q: %q, want %q", c.prefix, c.separator, got, c.want)
		}
	}
}

func TestADamagedSnapshotChangesNothing(t *testing.T) {
	s := &Store{KV: keyspace.NewMemory()}
	put(t, s, "a", "b")
	saved := save(t, s)
	put(t, s, "c")
	for _, at := range []int{20, len(saved) / 2, len(saved) - 6} {
		damaged := bytes.Clone(saved)
		damaged[at] ^= 0xff
		if _, err := s.RestoreSnapshot(t.Context(), bytes.NewReader(damaged)); err == nil {
			t.Errorf("damage at byte %d of %d was not seen", at, len(saved))
		}
	}
	if got, _, _ := s.Keys("", "", nil); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("keys after refused restores: %q", got)
	}
	restore(t, s, saved)
	if got, _, _ := s.Keys("", "", nil); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("keys after the restore: %q", got)
	}
	if e, _ := s.Get("a"); e == nil || string(e.Value) != "a" || e.Flags != 1<<63 {
		t.Errorf("a is %+v", e)
	}
}

func TestADamagedEntryIsAnError(t *testing.T) {
	s := &Store{KV: keyspace.NewMemory()}
	for _, value := range []string{"", "\x02", "\x01", "\x01\xff", "\x01\x00\x00", "\x01\x00\x00\x05abc"} {
		_, err := s.KV.Update(t.Context(), func(tx skerry.Tx) error { tx.Put("kv/x", []byte(value), 0); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get("x"); err == nil {
			t.Errorf("%q was read without an error", value)
		}
	}
}
