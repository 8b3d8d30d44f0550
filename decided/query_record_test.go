package decided

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/keyspace"
)

// reversed seals by writing backwards, with the ID and its key before.
type reversed struct{ key string }

func backwards(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// Seal implements [Sealer].
func (r reversed) Seal(secret, id string) ([]byte, error) {
	return []byte(r.key + id + backwards(secret)), nil
}

// Open implements [Sealer].
func (r reversed) Open(sealed []byte, id string) (string, bool) {
	rest, ok := strings.CutPrefix(string(sealed), r.key+id)
	return backwards(rest), ok
}

const secretOfQuery = "c0ffee00-1111-4222-8333-444455556666"

func storedText(kv *keyspace.Memory) string {
	var b strings.Builder
	for r := range kv.Snapshot().All(skerry.Below(""), "") {
		b.Write(r.Value)
	}
	return b.String()
}

func TestATokenOfAQueryIsSealed(t *testing.T) {
	kv := keyspace.NewMemory()
	q := &Queries{KV: kv, Log: slog.New(slog.DiscardHandler), Sealer: reversed{"k1"}}
	query := skerry.PreparedQuery{Name: "x", Token: secretOfQuery, Service: skerry.ServiceQuery{Service: "web"}}
	id, err := q.CreateQuery(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(storedText(kv), secretOfQuery) {
		t.Error("the token is in clear text in the store")
	}
	one, index, err := q.Query(id)
	if err != nil || one.Token != secretOfQuery {
		t.Fatalf("the token is %q, %v", one.Token, err)
	}
	query.ID = id
	if err := q.UpdateQuery(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	if _, again, _ := q.Query(id); again != index {
		t.Error("the same query written again is a change")
	}
	query.Token = ""
	if err := q.UpdateQuery(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	if one, _, _ := q.Query(id); one.Token != "" {
		t.Errorf("the token was removed and is %q", one.Token)
	}
	other := &Queries{KV: kv, Log: q.Log}
	if _, err := other.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "y", Token: "t", Service: query.Service}); skerry.KindOf(err) != skerry.Unsupported {
		t.Errorf("a token without a key: %v", err)
	}
}

// A token that cannot be opened, or was left out, is none that the asker may stand for.
func TestATokenOfAQueryInASnapshot(t *testing.T) {
	kv := keyspace.NewMemory()
	q := &Queries{KV: kv, Log: slog.New(slog.DiscardHandler), Sealer: reversed{"k1"}}
	store := &Store{KV: kv}
	id, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "x", Token: secretOfQuery, Service: skerry.ServiceQuery{Service: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		asked bool
		key   string
		want  string
	}{{false, "k1", redacted}, {true, "k1", secretOfQuery}, {true, "k2", redacted}} {
		var out bytes.Buffer
		if _, _, err := store.SaveSnapshot(&out, archive.Meta{}, c.asked); err != nil {
			t.Fatal(err)
		}
		into := keyspace.NewMemory()
		restore(t, &Store{KV: into}, out.Bytes())
		if sealed := strings.Contains(storedText(into), `"sealed"`); sealed != c.asked {
			t.Errorf("asked for tokens: %v, sealed ones are there: %v", c.asked, sealed)
		}
		fresh := &Queries{KV: into, Log: q.Log, Sealer: reversed{c.key}}
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

// What an earlier version has in clear text is sealed, now and after a restore.
func TestTokensInClearTextAreSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := keyspace.NewMemory()
		q := &Queries{KV: kv, Log: slog.New(slog.DiscardHandler), Sealer: reversed{"k1"}}
		old := func(id string) {
			kv.Update(t.Context(), func(tx skerry.Tx) error {
				tx.Put("query/"+id, []byte(`{"id":"`+id+`","name":"`+id+`","token":"`+secretOfQuery+`","service":{"service":"web"}}`), 0)
				return nil
			})
		}
		old("a")
		var out bytes.Buffer
		if _, _, err := (&Store{KV: kv}).SaveSnapshot(&out, archive.Meta{}, true); err != nil {
			t.Fatal(err)
		}
		into := keyspace.NewMemory()
		restore(t, &Store{KV: into}, out.Bytes())
		if strings.Contains(storedText(into), secretOfQuery) {
			t.Error("a token in clear text is in a snapshot")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		synctest.Wait()
		old("b")
		synctest.Wait()
		for _, id := range []string{"a", "b"} {
			if one, _, err := q.Query(id); err != nil || one.Token != secretOfQuery {
				t.Errorf("%s: %+v, %v", id, one, err)
			}
		}
		if strings.Contains(storedText(kv), secretOfQuery) {
			t.Error("a token is left in clear text")
		}
		stop()
		<-done
	})
}
