package forward_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/forward"
)

// servers are named servers at addresses; those that are down refuse connections.
type servers struct {
	names []string
	at    map[string]string
}

func (s *servers) pick(not ...string) (name, address string, ok bool) {
	for _, name := range s.names {
		if !slices.Contains(not, name) {
			return name, s.at[name], true
		}
	}
	return "", "", false
}

// start starts a server that answers with its name, and how it was asked.
func (s *servers) start(t *testing.T, name string) *httptest.Server {
	t.Helper()
	one := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Consul-Index", "7")
		io.WriteString(w, strings.Join([]string{name, r.Method, r.URL.String(), string(body), r.Header.Get("X-Consul-Token"), forward.From(r)}, "|"))
	}))
	t.Cleanup(one.Close)
	if s.at == nil {
		s.at = map[string]string{}
	}
	s.names, s.at[name] = append(s.names, name), one.Listener.Addr().String()
	return one
}

func (s *servers) forwarder() *forward.Forwarder {
	return forward.New(forward.Config{Node: "web1", Pick: s.pick, Transport: http.DefaultTransport, Log: slog.New(slog.DiscardHandler)})
}

func serve(f *forward.Forwarder, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.Forward(w, r, false)
	return w
}

func TestRequestsArePassedOn(t *testing.T) {
	var s servers
	s.start(t, "s1")
	w := serve(s.forwarder(), "PUT", "/v1/kv/a%2Fb?flags=3", "value", "X-Consul-Token", "secret")
	if want := "s1|PUT|/v1/kv/a%2Fb?flags=3|value|secret|web1"; w.Code != http.StatusOK || w.Body.String() != want || w.Header().Get("X-Consul-Index") != "7" {
		t.Errorf("%d %q %v, want %q", w.Code, w.Body, w.Header(), want)
	}
}

func TestAnotherServerAnswersReads(t *testing.T) {
	var s servers
	s.start(t, "s1").Close()
	s.start(t, "s2")
	f := s.forwarder()
	if w := serve(f, "GET", "/v1/kv/a", ""); w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "s2|GET") {
		t.Errorf("a read: %d %q", w.Code, w.Body)
	}
	if w := serve(f, "PUT", "/v1/kv/a", "x"); w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "s2|PUT|/v1/kv/a|x") {
		t.Errorf("a write that the first server cannot have read: %d %q", w.Code, w.Body)
	}
	if answer, err := f.Ask(t.Context(), "/ask", "secret", []byte("what")); err != nil || !strings.HasPrefix(string(answer), "s2|POST|/ask|what|secret") {
		t.Errorf("a question: %q %v", answer, err)
	}
}

func TestWithoutAServer(t *testing.T) {
	var s servers
	f := s.forwarder()
	if w := serve(f, "GET", "/v1/kv/a", ""); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "No known Consul servers") {
		t.Errorf("a read: %d %q", w.Code, w.Body)
	}
	if _, err := f.Ask(context.Background(), "/ask", "", nil); err == nil || !strings.Contains(err.Error(), "retry_join") {
		t.Errorf("a question: %v", err)
	}
}

func TestALoopEnds(t *testing.T) {
	var s servers
	s.start(t, "s1")
	if w := serve(s.forwarder(), "GET", "/v1/kv/a", "", "X-Skerry-Via", "a, b, c"); w.Code != http.StatusLoopDetected || !strings.Contains(w.Body.String(), "a, b, c") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
