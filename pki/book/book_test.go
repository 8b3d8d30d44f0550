package book_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/book"
	"github.com/skerryhq/skerry/pki/join"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

var t0 = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// joins lets a node join with a token.
func joins(t *testing.T, b *book.Book, id join.ID, node string) join.Print {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	print, err := join.PrintOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	err = b.Change(t.Context(), id, node, func(e *join.Entry, k *join.NodeKey) (*join.Entry, *join.NodeKey, error) {
		if e == nil {
			return nil, nil, errors.New("no token")
		}
		left := *e
		left.Uses--
		return &left, &join.NodeKey{Node: node, Kind: e.Kind, Print: print, Token: id.String()}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return print
}

func newToken(t *testing.T, b *book.Book, expires time.Time) *join.Token {
	t.Helper()
	tok, err := join.NewToken(pki.Agent, pki.Pin{1}, expires)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(t.Context(), tok.ID, join.EntryOf(tok, t0, 3, ""), t0); err != nil {
		t.Fatal(err)
	}
	return tok
}

func names(t *testing.T, b *book.Book) (out []string) {
	t.Helper()
	nodes, err := b.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		out = append(out, n.Node)
	}
	return out
}

func TestBook(t *testing.T) {
	kv := replicatest.NewMemory()
	b := book.New(kv)
	tok := newToken(t, b, t0.Add(time.Hour))
	web1, _ := joins(t, b, tok.ID, "Web/1"), joins(t, b, tok.ID, "web2")
	if list, err := b.Tokens(); err != nil || len(list) != 1 || list[0].ID != tok.ID || list[0].Uses != 1 || !list[0].Public.Equal(tok.Public()) {
		t.Errorf("the tokens are %+v, %v", list, err)
	}
	if got := names(t, b); !slices.Equal(got, []string{"Web/1", "web2"}) {
		t.Errorf("the nodes are %q", got)
	}

	// What change refuses is not written.
	refused := errors.New("no")
	err := b.Change(t.Context(), tok.ID, "web3", func(e *join.Entry, _ *join.NodeKey) (*join.Entry, *join.NodeKey, error) {
		e.Uses = 0
		return e, nil, refused
	})
	if list, _ := b.Tokens(); !errors.Is(err, refused) || list[0].Uses != 1 {
		t.Errorf("%v, and the token is %+v", err, list)
	}

	changed := b.Watch()
	if b.Revoked(web1) {
		t.Error("web1 is revoked")
	}
	if err := b.RevokeNode(t.Context(), "WEB/1", t0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("a revocation wakes no watcher")
	}
	if !b.Revoked(web1) || !slices.Equal(names(t, b), []string{"web2"}) {
		t.Errorf("web1 is revoked: %v; the nodes are %q", b.Revoked(web1), names(t, b))
	}
	if err := b.RevokeNode(t.Context(), "web/1", t0); skerry.KindOf(err) != skerry.NotFound {
		t.Errorf("a node without a key: %v", err)
	}

	// A key that is replaced is revoked, and its node is not.
	web2, again := joins(t, b, tok.ID, "web2"), joins(t, b, tok.ID, "web2")
	if !b.Revoked(web2) || b.Revoked(again) || !slices.Equal(names(t, b), []string{"web2"}) || slices.Contains(b.RevokedNodes(), "web2") {
		t.Errorf("after another key: %v, %v; the nodes are %q, and %q are revoked", b.Revoked(web2), b.Revoked(again), names(t, b), b.RevokedNodes())
	}

	// A token is revoked, with the nodes that joined with it or without them.
	if got, err := b.Revoke(t.Context(), tok.ID, false, t0); err != nil || got != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := b.Revoke(t.Context(), tok.ID, true, t0); err != nil || !slices.Equal(got, []string{"web2"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Revoke(t.Context(), tok.ID, true, t0); skerry.KindOf(err) != skerry.NotFound {
		t.Errorf("a token that is gone: %v", err)
	}
}

// A new token takes those along that have expired.
func TestExpiredTokensGo(t *testing.T) {
	b := book.New(replicatest.NewMemory())
	newToken(t, b, t0.Add(-time.Second))
	kept := newToken(t, b, t0.Add(time.Hour))
	if list, err := b.Tokens(); err != nil || len(list) != 1 || list[0].ID != kept.ID {
		t.Errorf("the tokens are %+v, %v", list, err)
	}
}

// What was kept before there was a majority comes once: uses that were taken since count.
func TestImport(t *testing.T) {
	b := book.New(replicatest.NewMemory())
	tok, err := join.NewToken(pki.Server, pki.Pin{1}, t0.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	tokens, nodes := map[string]join.Entry{tok.ID.String(): join.EntryOf(tok, t0, 3, "")}, map[string]join.NodeKey{"s1": {Node: "s1", Kind: pki.Server}}
	if err := b.Import(t.Context(), tokens, nodes); err != nil {
		t.Fatal(err)
	}
	joins(t, b, tok.ID, "s2")
	if err := b.Import(t.Context(), tokens, nodes); err != nil {
		t.Fatal(err)
	}
	if list, err := b.Tokens(); err != nil || list[0].Uses != 2 || !slices.Equal(names(t, b), []string{"s1", "s2"}) {
		t.Errorf("%+v, %v; %q", list, err, names(t, b))
	}
}

// A damaged record is an error, and a damaged revocation counts.
func TestDamage(t *testing.T) {
	kv := replicatest.NewMemory()
	b := book.New(kv)
	tok := newToken(t, b, t0.Add(time.Hour))
	web1 := joins(t, b, tok.ID, "web1")
	if err := b.RevokeNode(t.Context(), "web1", t0); err != nil {
		t.Fatal(err)
	}
	text, _ := web1.MarshalText()
	kv.Damage("revoked/" + string(text))
	kv.Damage("join/" + tok.ID.String())
	if !b.Revoked(web1) {
		t.Error("a damaged revocation does not count")
	}
	if _, err := b.Tokens(); err == nil {
		t.Error("a damaged token is listed")
	}
	err := b.Change(t.Context(), tok.ID, "x", func(e *join.Entry, k *join.NodeKey) (*join.Entry, *join.NodeKey, error) { return e, k, nil })
	if err == nil {
		t.Error("a process joins with a damaged token")
	}
}
