package quorum

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
)

// flip changes one bit of a record's value in etcd, as another server or a disk may.
func flip(t *testing.T, kv skerry.KV, key string) {
	t.Helper()
	s := kv.(*Store)
	raw := []byte(encodeRecord(key, []byte("value"), 0))
	raw[len(raw)-1] ^= 4
	putRaw(t, s, key, string(raw))
}

func putRaw(t *testing.T, s *Store, key, raw string) {
	t.Helper()
	g := s.generation.Load()
	r, err := s.client.Put(t.Context(), g.prefix+key, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), g.index(r.Header.Revision)); err != nil {
		t.Fatal(err)
	}
}

// No flipped bit, cut or move of a record gives a value.
func TestNoDamagedRecordIsRead(t *testing.T) {
	for _, key := range []string{"kv/a", "ext/id/é", strings.Repeat("k", 2000)} {
		for _, value := range []string{"", "\x01\x00\x00\x00red", `{"a":1}`, strings.Repeat("v", 300)} {
			raw := []byte(encodeRecord(key, []byte(value), 7))
			if got, how := decodeRecord(key, raw, 7); how != sound || string(got) != value {
				t.Fatalf("%.10s: %q, %v", key, got, how)
			}
			for bit := range len(raw) * 8 {
				bad := bytes.Clone(raw)
				bad[bit/8] ^= 1 << (bit % 8)
				if got, how := decodeRecord(key, bad, 7); how != damaged || got != nil {
					t.Fatalf("%.10s with bit %d flipped: %q, %v", key, bit, got, how)
				}
			}
			for n := 1; n < len(raw); n++ {
				if _, how := decodeRecord(key, raw[:n], 7); how != damaged {
					t.Fatalf("%.10s cut to %d bytes: %v", key, n, how)
				}
			}
			if _, how := decodeRecord(key+"x", raw, 7); how != damaged {
				t.Errorf("%.10s was read at another key", key)
			}
			if _, how := decodeRecord(key, raw, 8); how != damaged {
				t.Errorf("%.10s was read with another lease", key)
			}
		}
	}
}

// FuzzRecord: whatever is in etcd gives a value with its checksum, an earlier
// version's, or none.
func FuzzRecord(f *testing.F) {
	f.Add("kv/a", []byte(encodeRecord("kv/a", []byte("v"), 0)), int64(0))
	f.Add("kv/a", []byte("\x01\x00\x00\x00v"), int64(0))
	f.Add("k", []byte(recordMark), int64(3))
	f.Fuzz(func(t *testing.T, key string, raw []byte, lease int64) {
		value, how := decodeRecord(key, raw, skerry.LeaseID(lease))
		switch how {
		case sound:
			if encodeRecord(key, value, skerry.LeaseID(lease)) != string(raw) {
				t.Errorf("%q is not what was written", raw)
			}
		case unmarked:
			if !bytes.Equal(value, raw) {
				t.Errorf("%q became %q", raw, value)
			}
		case damaged:
			if value != nil {
				t.Errorf("damage has the value %q", value)
			}
		}
		if got, how := decodeRecord(key, []byte(encodeRecord(key, raw, skerry.LeaseID(lease))), skerry.LeaseID(lease)); how != sound || !bytes.Equal(got, raw) {
			t.Errorf("%q was read as %q, %v", raw, got, how)
		}
	})
}

// flipInFile flips one bit of the only, or of each, place with this text in the
// member's data file.
func flipInFile(t *testing.T, dir, text string) {
	t.Helper()
	file := filepath.Join(dir, memberFile)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 0; ; found++ {
		i := bytes.Index(b[at:], []byte(text))
		if i < 0 {
			break
		}
		b[at+i] ^= 1
		at += i + len(text)
	}
	if found == 0 {
		t.Fatalf("%q is not in the file", text)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFlippedBitInTheFileIsFoundAtTheStart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Embedded{Dir: dir})
	for i := range 20 {
		if err := put(t, s, fmt.Sprintf("k/%02d", i), fmt.Appendf(nil, "the value of %02d", i)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	flipInFile(t, dir, "the value of 07")
	flipInFile(t, dir, "k/11") // of the key: the record is found where it does not belong

	s = open(t, Embedded{Dir: dir})
	defer s.Close()
	now := s.Snapshot()
	for i := range 20 {
		key := fmt.Sprintf("k/%02d", i)
		r := now.Get(key)
		switch {
		case i == 7 && (r == nil || r.Value != nil || r.Damage == nil):
			t.Errorf("the damaged %s is served: %+v", key, r)
		case i == 7:
			if text := r.Damage.Error(); !strings.Contains(text, `"k/07"`) || !strings.Contains(text, memberFile) {
				t.Errorf("the error names no key or no file: %s", text)
			}
		case i == 11 && r != nil:
			t.Errorf("%s should not be there under its name: %+v", key, r)
		case i != 11 && string(r.Value) != fmt.Sprintf("the value of %02d", i):
			t.Errorf("%s is %+v", key, r)
		}
	}
	if got := s.damage.count(); got != 2 {
		t.Errorf("%d damaged records are counted, want 2", got)
	}
	if err := put(t, s, "k/07", []byte("anew")); err != nil {
		t.Fatal(err)
	}
	if r := s.Snapshot().Get("k/07"); r.Damage != nil || string(r.Value) != "anew" {
		t.Errorf("after it was written anew: %+v", r)
	}
	if got := s.damage.count(); got != 1 {
		t.Errorf("%d damaged records are counted, want 1", got)
	}
}

// A flipped bit in the pointer must not lead to another, empty generation, nor
// make indexes go back.
func TestADamagedPointerOpensNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Embedded{Dir: dir})
	s.Close()
	flipInFile(t, dir, `"generation"`)
	_, err := Open(t.Context(), Embedded{Dir: dir, Log: s.log})
	if err == nil || !strings.Contains(err.Error(), DefaultPrefix+pointerKey) || !strings.Contains(err.Error(), memberFile) {
		t.Fatalf("the error: %v", err)
	}
}

// What an earlier version wrote has no checksum: it is read, counted, and gets one
// with its next change.
func TestRecordsWithoutAChecksumAreTaken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Embedded{Dir: dir})
	g := s.generation.Load()
	for key, value := range map[string]string{"kv/a": "\x01\x00\x00\x00old", "session/x": `{"id":"x"}`, "held/x/a": ""} {
		putRaw(t, s, key, value)
	}
	if _, err := s.client.Put(t.Context(), s.prefix+pointerKey, `{"generation":"1","base":0}`); err != nil {
		t.Fatal(err)
	}
	s.Close()

	e := opened(t, Embedded{Dir: dir})
	s = e.store.Load()
	for key, value := range map[string]string{"kv/a": "\x01\x00\x00\x00old", "session/x": `{"id":"x"}`, "held/x/a": ""} {
		if r := s.Snapshot().Get(key); r == nil || r.Damage != nil || string(r.Value) != value {
			t.Errorf("%s: %+v", key, r)
		}
	}
	if f := figures(t, e); f["unchecked_total"] != 3 || f["damaged"] != 0 {
		t.Errorf("unchecked %v, damaged %v", f["unchecked_total"], f["damaged"])
	}
	if err := put(t, s, "session/x", []byte(`{"id":"y"}`)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{g.prefix + "session/x", s.prefix + pointerKey} {
		r, err := s.client.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(r.Kvs[0].Value), recordMark) {
			t.Errorf("%s is still without a checksum: %q", key, r.Kvs[0].Value)
		}
	}
}

// A follower that must load all anew checks it too.
func TestAReloadedTableIsChecked(t *testing.T) {
	s := open(t, Embedded{Dir: t.TempDir()})
	defer s.Close()
	if err := put(t, s, "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	flip(t, s, "b")
	g := s.generation.Load()
	r, err := s.client.Get(t.Context(), g.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.take(t.Context(), g, r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if r := s.Snapshot().Get("b"); r == nil || r.Damage == nil || s.damage.count() != 1 {
		t.Errorf("b: %+v, %d damaged", r, s.damage.count())
	}
}
