package snapshot_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/query"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/decided/snapshot"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func keeper(store skerry.KV) *snapshot.Keeper {
	return snapshot.New(snapshot.Options{KV: store, Sessions: session.New(session.Options{KV: store})})
}

func save(t *testing.T, k *snapshot.Keeper, queryTokens bool) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := k.SaveSnapshot(&out, queryTokens); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func restore(t *testing.T, k *snapshot.Keeper, saved []byte) {
	t.Helper()
	if err := k.RestoreSnapshot(t.Context(), bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s *kv.Store, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, err := s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: k, Value: []byte(k), Flags: 1 << 63}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedSnapshotChangesNothing(t *testing.T) {
	mem := replicatest.NewMemory()
	k, s := keeper(mem), kv.New(kv.Options{KV: mem})
	put(t, s, "a", "b")
	saved := save(t, k, false)
	put(t, s, "c")
	for _, at := range []int{20, len(saved) / 2, len(saved) - 6} {
		damaged := bytes.Clone(saved)
		damaged[at] ^= 0xff
		if err := k.RestoreSnapshot(t.Context(), bytes.NewReader(damaged)); err == nil {
			t.Errorf("damage at byte %d of %d was not seen", at, len(saved))
		}
	}
	if got, _, _ := s.Keys("", "", nil); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("keys after refused restores: %q", got)
	}
	restore(t, k, saved)
	if got, _, _ := s.Keys("", "", nil); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("keys after the restore: %q", got)
	}
	if e, _ := s.Get("a"); e == nil || string(e.Value) != "a" || e.Flags != 1<<63 {
		t.Errorf("a is %+v", e)
	}
}

// A snapshot that would lack a record is refused before anything is written.
func TestASnapshotOfADamagedEntry(t *testing.T) {
	mem := replicatest.NewMemory()
	put(t, kv.New(kv.Options{KV: mem}), "a", "b")
	mem.Damage("kv/b")
	var out bytes.Buffer
	_, err := keeper(mem).SaveSnapshot(&out, false)
	decidedtest.WantDamage(t, "a snapshot", err, "kv/b")
	if out.Len() > 0 {
		t.Errorf("the refused snapshot has %d bytes", out.Len())
	}
}

// reversed seals by writing backwards, with the ID and its key before.
type reversed struct{ key string }

func backwards(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// Seal implements [query.Sealer].
func (r reversed) Seal(secret, id string) ([]byte, error) {
	return []byte(r.key + id + backwards(secret)), nil
}

// Open implements [query.Sealer].
func (r reversed) Open(sealed []byte, id string) (string, bool) {
	rest, ok := strings.CutPrefix(string(sealed), r.key+id)
	return backwards(rest), ok
}

// hidden stands for a token that is not shown.
const hidden = "<hidden>"

const secretOfQuery = "c0ffee00-1111-4222-8333-444455556666"

func storedText(kv *replicatest.Memory) string {
	var b strings.Builder
	for r := range kv.Snapshot().All(skerry.Below(""), "") {
		b.Write(r.Value)
	}
	return b.String()
}

// A token that cannot be opened, or was left out, is none that the asker may stand for.
func TestATokenOfAQueryInASnapshot(t *testing.T) {
	mem := replicatest.NewMemory()
	q := query.New(query.Options{KV: mem, Sealer: reversed{"k1"}})
	id, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "x", Token: secretOfQuery, Service: skerry.ServiceQuery{Service: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		asked bool
		key   string
		want  string
	}{{false, "k1", hidden}, {true, "k1", secretOfQuery}, {true, "k2", hidden}} {
		into := replicatest.NewMemory()
		restore(t, keeper(into), save(t, keeper(mem), c.asked))
		if sealed := strings.Contains(storedText(into), `"sealed"`); sealed != c.asked {
			t.Errorf("asked for tokens: %v, sealed ones are there: %v", c.asked, sealed)
		}
		fresh := query.New(query.Options{KV: into, Sealer: reversed{c.key}})
		one, _, err := fresh.Query(id)
		if err != nil || one.Token != c.want {
			t.Errorf("asked for tokens: %v, with key %s: the token is %q, %v, want %q", c.asked, c.key, one.Token, err, c.want)
		}
		one2 := *one
		one2.Token = "another"
		if err := fresh.UpdateQuery(t.Context(), one2); err != nil {
			t.Error(err)
		}
		if one, _, _ := fresh.Query(id); one.Token != "another" {
			t.Errorf("the token was set and is %q", one.Token)
		}
	}
}

// A token that an earlier version has in clear text is in no snapshot.
func TestATokenInClearTextInASnapshot(t *testing.T) {
	mem := replicatest.NewMemory()
	_, err := mem.Update(t.Context(), func(tx skerry.Tx) error {
		tx.Put("query/a", []byte(`{"id":"a","name":"a","token":"`+secretOfQuery+`","service":{"service":"web"}}`), 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	into := replicatest.NewMemory()
	restore(t, keeper(into), save(t, keeper(mem), true))
	if strings.Contains(storedText(into), secretOfQuery) {
		t.Error("a token in clear text is in a snapshot")
	}
}

// The outcomes of requests that may come again are in no snapshot, and a restored store begins without them.
func TestOutcomesOfRequestsAreInNoSnapshot(t *testing.T) {
	mem := replicatest.NewMemory()
	ctx := once.With(t.Context(), once.Begin(0, "a secret"))
	if _, err := kv.New(kv.Options{KV: mem}).Write(ctx, skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: "a"}}); err != nil {
		t.Fatal(err)
	}
	keys := func(kv *replicatest.Memory) (out []string) {
		for r := range kv.Snapshot().All(skerry.Below(""), "") {
			out = append(out, r.Key)
		}
		return out
	}
	if got := keys(mem); len(got) != 2 {
		t.Fatalf("the store has %q", got)
	}
	into := replicatest.NewMemory()
	restore(t, keeper(into), save(t, keeper(mem), false))
	if got := keys(into); !slices.Equal(got, []string{"kv/a"}) {
		t.Errorf("the restored store has %q", got)
	}
}
