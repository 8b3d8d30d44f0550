package forward_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/skerryhq/skerry/forward"
)

// came is a request as a server got it.
type came struct {
	at, header, body string
	id               forward.ID
}

// network is servers that are reached over pipes, in a bubble of fake time.
type network struct {
	t       *testing.T
	servers map[string]http.HandlerFunc // by name, which is the address too
	metrics *prometheus.Registry
	f       *forward.Forwarder

	mu   sync.Mutex
	came []came
}

// inNetwork runs f with a forwarder that knows the servers s1, s2 and s3. They answer with their name.
func inNetwork(t *testing.T, f func(*network)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, servers: map[string]http.HandlerFunc{}, metrics: prometheus.NewRegistry()}
		s := servers{at: map[string]string{}}
		for _, name := range []string{"s1", "s2", "s3"} {
			s.names, s.at[name], n.servers[name] = append(s.names, name), name, answers(name)
		}
		transport := &http.Transport{DialContext: n.dial, DisableKeepAlives: true}
		n.f = forward.New(forward.Config{Node: "web1", Pick: s.pick, Transport: transport, Registerer: n.metrics, Log: slog.New(slog.DiscardHandler)})
		f(n)
	})
}

// answers is a server in the epoch 7.
func answers(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, is, err := forward.IDOf(r)
		if is {
			forward.SetEpoch(w.Header(), 7)
		}
		if err != nil || is && (!id.Dated || id.Epoch != 7) {
			forward.RefuseEpoch(w)
			return
		}
		io.WriteString(w, text)
	}
}

// listener gives a server one connection.
type listener struct {
	conns chan net.Conn
	end   context.Context
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.end.Done():
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{} }

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	name, _, _ := strings.Cut(address, ":")
	answer := n.servers[name]
	if answer == nil {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}
	}
	client, server := net.Pipe()
	l := &listener{make(chan net.Conn, 1), n.t.Context()}
	l.conns <- server
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := came{at: name, header: r.Header.Get("X-Skerry-Request")}
		body, _ := io.ReadAll(r.Body)
		c.body = string(body)
		c.id, _, _ = forward.IDOf(r)
		n.mu.Lock()
		n.came = append(n.came, c)
		n.mu.Unlock()
		answer(w, r)
	}))
	return client, nil
}

// put sends a written request with a body.
func (n *network) put(ctx context.Context, body string, repeat bool) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "PUT", "/v1/kv/a", strings.NewReader(body))
	r.Header.Set("X-Skerry-Request", "7 00112233445566778899aabbccddeeff again") // a client cannot say so
	w := httptest.NewRecorder()
	n.mu.Lock()
	n.came = nil
	n.mu.Unlock()
	n.f.Forward(w, r, repeat)
	return w
}

// wants compares where the last request came, and an answer.
func (n *network) wants(w *httptest.ResponseRecorder, code int, body string, at ...string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	var got []string
	for _, c := range n.came {
		got = append(got, c.at)
	}
	if w.Code != code || !strings.Contains(w.Body.String(), body) || fmt.Sprint(got) != fmt.Sprint(at) {
		n.t.Errorf("%d %q, it came to %v, want %d %q and %v", w.Code, w.Body, got, code, body, at)
	}
	if w.Header().Get("X-Skerry-Epoch") != "" {
		n.t.Error("the client is told the epoch")
	}
}

// dies ends the connection without an answer.
func dies(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "no majority", http.StatusInternalServerError)
}

func TestAWrittenRequestIsSentAgainWithItsID(t *testing.T) {
	inNetwork(t, func(n *network) {
		n.wants(n.put(n.t.Context(), "x", true), 200, "s1", "s1", "s1") // the first time the epoch is not known
		if first, second := n.came[0].id, n.came[1].id; first.Dated || second.Epoch != 7 || !second.Dated || second.Again || first.Secret != second.Secret {
			t.Errorf("%+v, then %+v", first, second)
		}
		n.servers["s1"], n.servers["s2"] = dies, unavailable
		n.wants(n.put(n.t.Context(), "value", true), 200, "s3", "s1", "s2", "s3")
		for i, c := range n.came {
			if c.id.Again != (i > 0) || c.id.Secret != n.came[0].id.Secret || c.body != "value" || !c.id.Dated {
				t.Errorf("attempt %d: %+v", i, c)
			}
		}
		last := n.came[0].id.Secret
		n.wants(n.put(n.t.Context(), "", true), 200, "s3", "s1", "s2", "s3")
		if n.came[0].id.Secret == last || n.came[0].id.Again {
			t.Errorf("another request: %+v", n.came[0])
		}
		if got, err := testutil.GatherAndCount(n.metrics, "skerry_forward_repeated_total"); got != 1 || err != nil {
			t.Errorf("%d metrics, %v", got, err)
		}
		n.servers["s1"] = nil // it refuses connections: nothing can have been made
		n.servers["s2"] = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) }
		n.wants(n.put(n.t.Context(), "x", true), 200, "s3", "s2", "s3")
		if n.came[1].id.Again {
			t.Error("a server that is starting is said to have made something")
		}
	})
}

func TestWhatIsNotSentAgain(t *testing.T) {
	inNetwork(t, func(n *network) {
		n.servers["s1"] = dies
		n.wants(n.put(n.t.Context(), "x", false), 500, "rpc error", "s1")
		large := strings.Repeat("x", forward.MaxKept+1)
		n.wants(n.put(n.t.Context(), large, true), 500, "rpc error", "s1")
		n.servers["s1"] = nil
		w := n.put(n.t.Context(), large, true)
		n.wants(w, 200, "s2", "s2")
		if len(n.came[0].body) != len(large) || n.came[0].header != "" {
			t.Errorf("a large request: %d bytes, id %q", len(n.came[0].body), n.came[0].header)
		}
		n.servers["s1"] = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Missing key", http.StatusBadRequest) }
		n.wants(n.put(n.t.Context(), "x", true), 400, "Missing key", "s1")
		n.servers["s1"] = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }
		n.wants(n.put(n.t.Context(), "x", true), 500, "no", "s1")
	})
}

// A server that is silent is left for another, while there is one, and the last one is waited for.
func TestASilentServer(t *testing.T) {
	inNetwork(t, func(n *network) {
		n.put(n.t.Context(), "x", true) // the epoch
		silent := func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(4 * time.Second) // fake time
			answers("late")(w, r)
		}
		n.servers["s1"] = silent
		began := time.Now()
		n.wants(n.put(n.t.Context(), "x", true), 200, "s2", "s1", "s2")
		if took := time.Since(began); took != 2500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		n.servers["s2"], n.servers["s3"] = nil, nil
		began = time.Now()
		n.wants(n.put(n.t.Context(), "x", true), 200, "late", "s1", "s1")
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(5 * time.Second)
	})
}

func TestRepeatingIsBounded(t *testing.T) {
	inNetwork(t, func(n *network) {
		for name := range n.servers {
			n.servers[name] = unavailable
		}
		began := time.Now()
		w := n.put(n.t.Context(), "x", true)
		if took := time.Since(began); took > 5*time.Second || len(n.came) != 30 || w.Code != 500 || !strings.Contains(w.Body.String(), "no majority") {
			t.Errorf("%d attempts, %d %q", len(n.came), w.Code, w.Body)
		}
		for name := range n.servers {
			n.servers[name] = func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(2 * time.Second) // fake time
				unavailable(w, r)
			}
		}
		began = time.Now()
		n.put(n.t.Context(), "x", true)
		if took := time.Since(began); len(n.came) != 3 || took > 7*time.Second {
			t.Errorf("%d attempts in %v", len(n.came), took)
		}
	})
}

func TestTheClientGoesAway(t *testing.T) {
	inNetwork(t, func(n *network) {
		ctx, cancel := context.WithTimeout(n.t.Context(), 300*time.Millisecond)
		defer cancel()
		for name := range n.servers {
			n.servers[name] = unavailable
		}
		began := time.Now()
		n.put(ctx, "x", true)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the request went on for %v", took)
		}
	})
}

// A request that may have been made is not sent in another epoch: its record may have been swept.
func TestTheEpochEndsMeanwhile(t *testing.T) {
	inNetwork(t, func(n *network) {
		n.put(n.t.Context(), "x", true)
		n.servers["s1"] = dies
		n.servers["s2"] = func(w http.ResponseWriter, _ *http.Request) {
			forward.SetEpoch(w.Header(), 9)
			forward.RefuseEpoch(w)
		}
		n.wants(n.put(n.t.Context(), "x", true), 500, "not known whether it was made", "s1", "s2")
		n.servers["s1"] = answers("s1")
		n.wants(n.put(n.t.Context(), "x", true), 200, "s1", "s1", "s1") // s1 has another epoch than s2, and refuses it
		time.Sleep(time.Minute)
		n.wants(n.put(n.t.Context(), "x", true), 200, "s1", "s1", "s1") // the epoch is not known any more
		if n.came[0].id.Dated {
			t.Error("an epoch counts for a minute")
		}
	})
}

func TestIDs(t *testing.T) {
	for header, ok := range map[string]bool{
		"7 00112233445566778899aabbccddeeff":             true,
		"- 00112233445566778899aabbccddeeff again":       true,
		"00112233445566778899aabbccddeeff":               false,
		"7 00112233":                                     false,
		"x 00112233445566778899aabbccddeeff":             false,
		"7 00112233445566778899aabbccddeeff again again": false,
	} {
		r := httptest.NewRequest("PUT", "/", nil)
		r.Header.Set("X-Skerry-Request", header)
		if id, is, err := forward.IDOf(r); !is || (err == nil) != ok || ok && id.String() != header {
			t.Errorf("%q: %+v %v %v", header, id, is, err)
		}
	}
	if _, is, err := forward.IDOf(httptest.NewRequest("PUT", "/", nil)); is || err != nil {
		t.Errorf("without an id: %v %v", is, err)
	}
}
