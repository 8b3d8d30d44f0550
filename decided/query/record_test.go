package query

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
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

func storedText(kv *replicatest.Memory) string {
	var b strings.Builder
	for r := range kv.Snapshot().All(skerry.Below(""), "") {
		b.Write(r.Value)
	}
	return b.String()
}

func TestATokenOfAQueryIsSealed(t *testing.T) {
	kv := replicatest.NewMemory()
	q := New(Options{KV: kv, Sealer: reversed{"k1"}})
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
	other := New(Options{KV: kv})
	if _, err := other.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "y", Token: "t", Service: query.Service}); skerry.KindOf(err) != skerry.Unsupported {
		t.Errorf("a token without a key: %v", err)
	}
}

// What an earlier version has in clear text is sealed.
func TestTokensInClearTextAreSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := replicatest.NewMemory()
		q := New(Options{KV: kv, Sealer: reversed{"k1"}})
		old := func(id string) {
			kv.Update(t.Context(), func(tx skerry.Tx) error {
				tx.Put("query/"+id, []byte(`{"id":"`+id+`","name":"`+id+`","token":"`+secretOfQuery+`","service":{"service":"web"}}`), 0)
				return nil
			})
		}
		old("a")
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

func TestADamagedQuery(t *testing.T) {
	kv := replicatest.NewMemory()
	q := New(Options{KV: kv})
	create := func(name string) string {
		id, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{Name: name, Service: skerry.ServiceQuery{Service: "web"}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	bad, good := create("bad"), create("good")
	kv.Damage("query/" + bad)
	key := "query/" + bad
	_, _, err := q.Query(bad)
	decidedtest.WantDamage(t, "a query", err, key)
	_, _, err = q.Queries()
	decidedtest.WantDamage(t, "the queries", err, key)
	for _, name := range []string{bad, "bad"} {
		_, err = q.ResolveQuery(name)
		decidedtest.WantDamage(t, "resolving", err, key)
	}
	if one, err := q.ResolveQuery("good"); err != nil || one.ID != good {
		t.Errorf("another: %v", err)
	}
	if _, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "bad", Service: skerry.ServiceQuery{Service: "web"}}); err == nil {
		t.Error("its name is free")
	}
	if err := q.DeleteQuery(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	create("bad")
	if all, _, err := q.Queries(); err != nil || len(all) != 2 {
		t.Errorf("after it was mended: %d queries, %v", len(all), err)
	}
}
