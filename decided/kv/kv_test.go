package kv_test

import (
	"slices"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func put(t *testing.T, s *kv.Store, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, err := s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: k, Value: []byte(k), Flags: 1 << 63}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysAreCutAtTheSeparator(t *testing.T) {
	s := kv.New(kv.Options{KV: replicatest.NewMemory()})
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

func TestADamagedEntryIsAnError(t *testing.T) {
	mem := replicatest.NewMemory()
	s := kv.New(kv.Options{KV: mem})
	for _, value := range []string{"", "\x02", "\x01", "\x01\xff", "\x01\x00\x00", "\x01\x00\x00\x05abc"} {
		_, err := mem.Update(t.Context(), func(tx skerry.Tx) error { tx.Put("kv/x", []byte(value), 0); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get("x"); err == nil {
			t.Errorf("%q was read without an error", value)
		}
	}
}

func TestADamagedEntryIsNeitherReadNorAbsent(t *testing.T) {
	mem := replicatest.NewMemory()
	s := kv.New(kv.Options{KV: mem})
	put(t, s, "a", "b", "c")
	mem.Damage("kv/b")
	_, err := s.Get("b")
	decidedtest.WantDamage(t, "reading", err, "kv/b")
	_, _, err = s.List("", nil)
	decidedtest.WantDamage(t, "a list", err, "kv/b")
	_, _, err = s.Keys("", "/", nil)
	decidedtest.WantDamage(t, "the keys", err, "kv/b")
	blind := func(key string) bool { return key != "b" }
	if all, _, err := s.List("", blind); err != nil || len(all) != 2 {
		t.Errorf("a list for one who may not know of the damaged key: %v, %v", all, err)
	}
	if keys, _, err := s.Keys("", "", blind); err != nil || len(keys) != 2 {
		t.Errorf("the keys for one who may not know of the damaged one: %v, %v", keys, err)
	}
	if e, err := s.Get("a"); err != nil || string(e.Value) != "a" {
		t.Errorf("another key: %v, %v", e, err)
	}
	for _, op := range []skerry.KeyOp{
		{Action: skerry.KeyCAS, KeyValue: skerry.KeyValue{Key: "b"}}, // if it is not there
		{Action: skerry.KeyCAS, KeyValue: skerry.KeyValue{Key: "b", Modified: mem.Snapshot().Get("kv/b").Modified}},
		{Action: skerry.KeyDeleteCAS, KeyValue: skerry.KeyValue{Key: "b", Modified: mem.Snapshot().Get("kv/b").Modified}},
		{Action: skerry.KeyRelease, KeyValue: skerry.KeyValue{Key: "b", Session: "x"}},
	} {
		done, err := s.Write(t.Context(), op)
		decidedtest.WantDamage(t, string(op.Action), err, "kv/b")
		if done {
			t.Errorf("%s was done", op.Action)
		}
	}
	for name, mend := range map[string]func(){
		"put": func() { put(t, s, "b") },
		"delete": func() {
			s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyDelete, KeyValue: skerry.KeyValue{Key: "b"}})
		},
		"delete all": func() {
			s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyDeleteAll, KeyValue: skerry.KeyValue{Key: "b"}})
		},
	} {
		mem.Damage("kv/b")
		mend()
		if e, err := s.Get("b"); err != nil || e != nil && string(e.Value) != "b" {
			t.Errorf("after %s: %v, %v", name, e, err)
		}
	}
}
