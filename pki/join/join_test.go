package join

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
)

var t0 = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// memory is a book in memory.
type memory struct {
	mu      sync.Mutex
	entries map[ID]Entry
	keys    map[string]NodeKey
	lose    bool // the answer of the next change
}

func (m *memory) Change(_ context.Context, id ID, node string, change func(*Entry, *NodeKey) (*Entry, *NodeKey, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var e *Entry
	var k *NodeKey
	if v, ok := m.entries[id]; ok {
		e = &v
	}
	if v, ok := m.keys[node]; ok {
		k = &v
	}
	e, k, err := change(e, k)
	if err != nil {
		return err
	}
	m.entries[id], m.keys[node] = *e, *k
	if m.lose {
		m.lose = false
		return skerry.Errorf(skerry.Unavailable, "no majority")
	}
	return nil
}

// site is a server that processes join.
type site struct {
	t         *testing.T
	at        string
	authority *pki.Authority
	book      *memory
	now       time.Time
	noBook    error
	revoked   bool
	lives     string // the node that is there
}

func newSite(t *testing.T) *site {
	t.Helper()
	a, err := pki.NewAuthority(t0)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, authority: a, book: &memory{entries: map[ID]Entry{}, keys: map[string]NodeKey{}}, now: t0}
	answers := NewServer(Config{
		Datacenter: "dc1", Authority: func() *pki.Authority { return a },
		Book: func() (Book, error) { return s.book, s.noBook }, Revoked: func(Print) bool { return s.revoked }, Lives: func(node string) bool { return s.lives != "" && node == s.lives },
		Valid: pki.CertificateFor, Now: func() time.Time { return s.now }, Log: slog.New(slog.DiscardHandler),
	})
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Sign(request, pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: "s1"}, t0, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.Key = key
	creds, err := pki.NewCredentials(h, func() time.Time { return s.now })
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+JoinPath, answers.ServeJoin)
	mux.HandleFunc("POST "+RenewPath, answers.ServeRenew)
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	srv.TLS = creds.Listen(true, "dc1", []pki.Kind{pki.Agent, pki.Server}, "http/1.1")
	srv.Listener = tls.NewListener(srv.Listener, srv.TLS)
	srv.Start()
	t.Cleanup(srv.Close)
	s.at = srv.Listener.Addr().String()
	return s
}

// token makes a token that the site knows.
func (s *site) token(kind pki.Kind, uses int, node string) *Token {
	s.t.Helper()
	tok, err := NewToken(kind, s.authority.Pin(), t0.Add(time.Hour))
	if err != nil {
		s.t.Fatal(err)
	}
	s.book.entries[tok.ID] = EntryOf(tok, t0, uses, node)
	return tok
}

func (s *site) ask(tok *Token, kind pki.Kind, node string) (Got, error) {
	s.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		s.t.Fatal(err)
	}
	return Ask(s.t.Context(), s.at, tok, pki.Name{Datacenter: "dc1", Kind: kind, Node: node}, key, func() time.Time { return s.now })
}

func TestJoin(t *testing.T) {
	s := newSite(t)
	tok := s.token(pki.Agent, 2, "")
	parsed, err := ParseToken(" " + tok.Secret() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.ask(parsed, pki.Agent, "web1")
	if err != nil || got.Authority != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if n, err := pki.Of(got.Leaf()); err != nil || n.Node != "web1" || n.Kind != pki.Agent {
		t.Errorf("the certificate is for %v, %v", n, err)
	}
	if _, err := s.ask(parsed, pki.Agent, "web2"); err != nil {
		t.Error(err)
	}
	if _, err := s.ask(parsed, pki.Agent, "web3"); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("a third process joins with a token for two: %v", err)
	}
	server, err := s.ask(s.token(pki.Server, 1, ""), pki.Server, "s2")
	if err != nil || server.Authority == nil || server.Authority.Pin() != s.authority.Pin() {
		t.Errorf("a server: %+v, %v", server, err)
	}
}

// Each row is a process that is refused, all with the same words.
func TestJoinRefuses(t *testing.T) {
	s := newSite(t)
	if _, err := s.ask(s.token(pki.Agent, 1, ""), pki.Agent, "web1"); err != nil {
		t.Fatal(err)
	}
	s.lives = "web1"
	forged := s.token(pki.Agent, 1, "")
	forged.key = s.token(pki.Agent, 1, "").key
	unknown, _ := NewToken(pki.Server, s.authority.Pin(), t0.Add(time.Hour))
	late := s.token(pki.Agent, 1, "")
	e := s.book.entries[late.ID]
	e.Expires = t0
	s.book.entries[late.ID] = e
	var words string
	for name, row := range map[string]struct {
		tok  *Token
		node string
	}{
		"a wrong secret": {forged, "x"}, "a token that is not known": {unknown, "x"}, "one that has expired": {late, "x"},
		"one for another node": {s.token(pki.Agent, 1, "web7"), "x"}, "a name that is taken": {s.token(pki.Agent, 1, ""), "web1"},
		"one that was used up": {s.token(pki.Agent, 0, ""), "x"},
	} {
		_, err := s.ask(row.tok, row.tok.Kind, row.node)
		if skerry.KindOf(err) != skerry.Denied {
			t.Errorf("%s: %v", name, err)
		}
		if words == "" {
			words = err.Error()
		} else if err == nil || err.Error() != words {
			t.Errorf("%s: %v, in place of the words of others", name, err)
		}
	}
	if strings.Contains(words, "web1") {
		t.Errorf("a stranger learns names: %s", words)
	}

	// The token of a node replaces its key, and each token does so once the node is gone.
	if _, err := s.ask(s.token(pki.Agent, 1, "web1"), pki.Agent, "web1"); err != nil {
		t.Error(err)
	}
	s.lives = ""
	if _, err := s.ask(s.token(pki.Agent, 1, ""), pki.Agent, "web1"); err != nil {
		t.Error(err)
	}
	if _, err := s.ask(s.token(pki.Agent, 1, ""), pki.Server, "s9"); err == nil || !strings.Contains(err.Error(), "another kind of process") {
		t.Errorf("a server with a token of an agent: %v", err)
	}
	s.noBook = skerry.Errorf(skerry.Unavailable, "no leader yet")
	if _, err := s.ask(s.token(pki.Agent, 1, ""), pki.Agent, "x"); skerry.KindOf(err) != skerry.Unavailable || !strings.Contains(err.Error(), "no leader yet") {
		t.Errorf("without a book: %v", err)
	}
}

// A process whose answer was lost asks again with its key, and takes one use in all.
func TestJoinAgain(t *testing.T) {
	s := newSite(t)
	tok := s.token(pki.Agent, 1, "")
	key, _ := pki.NewKey()
	n := pki.Name{Datacenter: "dc1", Kind: pki.Agent, Node: "web1"}
	now := func() time.Time { return t0 }
	s.book.lose = true
	if _, err := Ask(t.Context(), s.at, tok, n, key, now); skerry.KindOf(err) != skerry.Unavailable {
		t.Fatalf("%v", err)
	}
	if _, err := Ask(t.Context(), s.at, tok, n, key, now); err != nil {
		t.Errorf("the same process again: %v", err)
	}
	if _, err := s.ask(tok, pki.Agent, "web2"); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("another one: %v", err)
	}
}

// Two processes with a token for one: one of them joins.
func TestJoinRace(t *testing.T) {
	s := newSite(t)
	tok := s.token(pki.Agent, 1, "")
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = s.ask(tok, pki.Agent, "web"+string(rune('a'+i))) })
	}
	all.Wait()
	joined := 0
	for _, err := range errs {
		if err == nil {
			joined++
		} else if skerry.KindOf(err) != skerry.Denied {
			t.Error(err)
		}
	}
	if joined != 1 {
		t.Errorf("%d joined", joined)
	}
}

// A process between the two passes the question on: its own connection with the server has another binding. And what was
// sent once is refused when it is sent again.
func TestRelay(t *testing.T) {
	s := newSite(t)
	tok := s.token(pki.Agent, 5, "")
	key, _ := pki.NewKey()
	request, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	// The relay has a certificate of the authority for a server: the worst one.
	other := newSite(t)
	client := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}
	conn, err := client.DialContext(t.Context(), "tcp", other.at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	bound, err := binding(&state)
	if err != nil {
		t.Fatal(err)
	}
	q := question{ID: tok.ID.String(), Node: "web1", Request: request, Proof: tok.prove(bound, request, "web1")}
	through := &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return client.DialContext(ctx, network, s.at)
	}}
	defer through.CloseIdleConnections()
	if _, err := post(t.Context(), through, "https://"+s.at+JoinPath, q, pki.Name{}, key); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("a relayed question: %v", err)
	}
}

func TestRenew(t *testing.T) {
	s := newSite(t)
	n := pki.Name{Datacenter: "dc1", Kind: pki.Agent, Node: "web1"}
	got, err := s.ask(s.token(pki.Agent, 1, ""), n.Kind, n.Node)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := pki.NewCredentials(got.Held, func() time.Time { return s.now })
	if err != nil {
		t.Fatal(err)
	}
	through := &http.Transport{TLSClientConfig: creds.Dial("dc1", "http/1.1"), DisableKeepAlives: true}
	s.now = t0.Add(48 * time.Hour)
	again, err := Renew(t.Context(), through, s.at, n, got.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := creds.Replace(again.Held); err != nil || !again.Leaf().NotAfter.After(got.Leaf().NotAfter) {
		t.Errorf("the renewed one ends %v: %v", again.Leaf().NotAfter, err)
	}
	other, _ := pki.NewKey()
	if _, err := Renew(t.Context(), through, s.at, n, other); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("for another key: %v", err)
	}
	if _, err := Renew(t.Context(), &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, s.at, n, got.Key); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("without a certificate: %v", err)
	}
	s.revoked = true
	if _, err := Renew(t.Context(), through, s.at, n, got.Key); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("a revoked one: %v", err)
	}
}

func TestBadQuestions(t *testing.T) {
	s := newSite(t)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: pki.Pinned(s.authority.Pin(), func() time.Time { return t0 }), DisableKeepAlives: true}}
	for _, body := range []string{"", "{", "[]", `{"ID":"x"}`, `{"ID":"0000000000000000","Node":"a"}`, `{"Node":"` + strings.Repeat("x", 1<<20) + `"}`} {
		resp, err := c.Post("https://"+s.at+JoinPath, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%.40s: %d %s", body, resp.StatusCode, text)
		}
	}
}

func TestTokenText(t *testing.T) {
	tok, err := NewToken(pki.Server, pki.Pin{1, 2}, t0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseToken(tok.Secret())
	if err != nil || got.ID != tok.ID || got.Kind != tok.Kind || got.Pin != tok.Pin || !got.Expires.Equal(tok.Expires) || !got.key.Equal(tok.key) {
		t.Errorf("%+v, %v", got, err)
	}
	if text := tok.String(); strings.Contains(text, tok.Secret()[60:]) || strings.Contains(tok.Secret(), text) {
		t.Errorf("the text shows the secret: %s", text)
	}
	secret := tok.Secret()
	for _, bad := range []string{"", "skj1.", secret[:len(secret)-1], secret + "A", "skj2." + secret[5:], secret[:40] + "_" + secret[41:]} {
		if got, err := ParseToken(bad); err == nil && got.Secret() != secret || err != nil && (skerry.KindOf(err) != skerry.Invalid || strings.Contains(err.Error(), secret[40:])) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
	if _, err := ParseID("0123456789abcdeg"); err == nil || !errors.As(err, new(*skerry.Error)) {
		t.Error("an ID with a wrong digit is read")
	}
}

func FuzzParseToken(f *testing.F) {
	tok, err := NewToken(pki.Agent, pki.Pin{}, t0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tok.Secret())
	f.Add("skj1.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseToken(text); err == nil && got.Secret() != strings.TrimSpace(text) {
			t.Errorf("%q is read as %q", text, got.Secret())
		}
	})
}

// A token is for one datacenter, and a node of another one is no node of this one.
func TestJoinOfAnotherDatacenter(t *testing.T) {
	s := newSite(t)
	ask := func(tok *Token, datacenter string) (Got, error) {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		return Ask(t.Context(), s.at, tok, pki.Name{Datacenter: datacenter, Kind: pki.Server, Node: "s1"}, key, func() time.Time { return s.now })
	}
	own, far := s.token(pki.Server, 3, ""), s.token(pki.Server, 3, "")
	e := s.book.entries[far.ID]
	e.Datacenter = "dc2"
	s.book.entries[far.ID] = e
	s.lives = "s1"
	for name, row := range map[string]struct {
		tok        *Token
		datacenter string
	}{"a token of this one": {own, "dc2"}, "a token for another one": {far, "dc1"}, "a token for a third one": {far, "dc3"}} {
		if _, err := ask(row.tok, row.datacenter); skerry.KindOf(err) != skerry.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := ask(far, "dc2")
	if err != nil || got.Authority == nil {
		t.Fatalf("a server of dc2: %v", err)
	}
	if n, err := pki.Of(got.Leaf()); err != nil || n.String() != "skerry://dc2/server/s1" {
		t.Errorf("the certificate is for %v, %v", n, err)
	}
	if left := s.book.entries[far.ID].Uses; left != 2 {
		t.Errorf("%d uses are left", left)
	}
}
