package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

// A data file that would end the process when etcd reads it is found out before. One in which only values are damaged is opened.
func TestAFileIsCheckedBeforeItIsOpened(t *testing.T) {
	cfg := peerFor(t, "a")
	cfg.Peers.Members, cfg.Peers.Round = map[string]string{"a": cfg.Peers.Advertise}, "1"
	s := openOne(t, cfg)
	for _, key := range []string{"kv/a", "kv/b"} {
		putKey(t, s, key, strings.Repeat("v", 20_000))
	}
	putKey(t, s, "kv/c", "the value of c")
	kill(s)
	file := filepath.Join(cfg.Dir, memberFile)
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"": func(b []byte) []byte { return b },
		"its heads": func(b []byte) []byte {
			clear(b[:8192])
			return b
		},
		"its pages": func(b []byte) []byte {
			for i := 8192; i < len(b); i += 64 {
				b[i] ^= 0xff
			}
			return b
		},
		"its length":   func(b []byte) []byte { return b[:12288] },
		"not a record": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("kv/c\x10"), []byte("kv/c\x17")) },
	} {
		if err := os.WriteFile(file, spoil(bytes.Clone(sound)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkData(cfg.Dir, false); errors.Is(err, ErrDamaged) != (name != "") || name == "" && err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if name == "" {
			continue
		}
		if s, err := Open(t.Context(), cfg); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q is opened: %v, %v", name, s, err)
		}
	}
	if err := os.WriteFile(file, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(cfg.Dir, "member", "wal")
	if err := os.Rename(log, log+".away"); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), cfg); !errors.Is(err, ErrDamaged) {
		t.Errorf("without its log it is opened: %v, %v", s, err)
	}
	if err := os.Rename(log+".away", log); err != nil {
		t.Fatal(err)
	}
	flipInFile(t, cfg.Dir, "the value of c")
	s = openOne(t, cfg) // nothing is left of the starts before
	if r := s.Snapshot().Get("kv/c"); r == nil || r.Damage == nil {
		t.Errorf("%+v", r)
	}
	if err := checkData(t.TempDir(), true); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

// A log of which a part is damaged, wherever it is, is no log that ends there. One that has all is opened.
func TestALogThatForgotIsFoundOut(t *testing.T) {
	cfg := peerFor(t, "a")
	cfg.Peers.Members, cfg.Peers.Round = map[string]string{"a": cfg.Peers.Advertise}, "1"
	s := openOne(t, cfg)
	for n := range 50 {
		putKey(t, s, fmt.Sprint("kv/", n), strings.Repeat("v", 100))
	}
	s.Close()
	if err := checkData(cfg.Dir, true); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(cfg.Dir, "member", "wal", "*.wal"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	sound, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(sound, "\x00"))
	for at := 0; at < end-200; at += 400 {
		spoilt := bytes.Clone(sound)
		for i := range 40 { // also lengths of records
			spoilt[at+i] ^= 0xff
		}
		if err := os.WriteFile(logs[0], spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkData(cfg.Dir, true); !errors.Is(err, ErrDamaged) {
			t.Errorf("damage at %d of %d: %v", at, end, err)
		}
	}
}

// BenchmarkCheckData checks a file with 50,000 records of 200 bytes.
func BenchmarkCheckData(b *testing.B) {
	cfg := Embedded{Dir: b.TempDir(), Forget: true, Log: slog.New(slog.DiscardHandler)}
	s, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	for n := range 50 {
		if _, err := s.Update(b.Context(), func(tx skerry.Tx) error {
			for i := range 1000 {
				tx.Put(fmt.Sprintf("kv/%d/%d", n, i), bytes.Repeat([]byte("v"), 200), 0)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	s.Close()
	for b.Loop() {
		if err := checkData(cfg.Dir, false); err != nil {
			b.Fatal(err)
		}
	}
}
