package skerryhttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	skerryhttp "github.com/skerryhq/skerry/client/http"
)

// backend is a server that says its name and counts its calls.
type backend struct {
	*httptest.Server
	calls   atomic.Int64
	handler atomic.Pointer[http.HandlerFunc]
}

func (b *backend) addr() string { return strings.TrimPrefix(b.URL, "http://") }

func newBackend(t *testing.T, h http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{}
	b.handler.Store(&h)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			b.calls.Add(1)
		}
		(*b.handler.Load())(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

func fine(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Host, r.URL.Path) }

// callers returns an HTTP client for the services of m.
func callers(t *testing.T, m client.Source, opts ...skerryhttp.Option) *http.Client {
	t.Helper()
	c := client.New(m, client.WithCacheDir(""))
	tr := skerryhttp.NewTransport(c, opts...)
	t.Cleanup(func() { tr.Close(); c.Close() })
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func get(t *testing.T, hc *http.Client, url string) (int, string, error) {
	t.Helper()
	resp, err := hc.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestCallsByName(t *testing.T) {
	m := &clienttest.Manual{}
	one, two := newBackend(t, fine), newBackend(t, fine)
	hc := callers(t, m)
	go func() {
		for m.Watched("orders") == 0 { // the call waits for the list
			time.Sleep(time.Millisecond)
		}
		m.Set("orders", one.addr(), two.addr())
	}()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if status, body, err := get(t, hc, "http://orders/v1/x"); err != nil || status != 200 || body != "orders /v1/x" {
					t.Errorf("%d %q %v", status, body, err)
				}
			}
		})
	}
	wg.Wait()
	if one.calls.Load() < 40 || two.calls.Load() < 40 {
		t.Errorf("the calls went %d and %d", one.calls.Load(), two.calls.Load())
	}
	if _, body, err := get(t, hc, "skerry://orders/v1/y"); err != nil || body != "orders /v1/y" {
		t.Errorf("scheme skerry: %q %v", body, err)
	}
	if _, body, err := get(t, hc, one.URL+"/plain"); err != nil || !strings.HasSuffix(body, "/plain") {
		t.Errorf("a host that is no service: %q %v", body, err)
	}
	req, _ := http.NewRequest("GET", "http://orders/", nil)
	req.Host = "shop.example"
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "shop.example /" {
		t.Errorf("with a Host of its own: %q", b)
	}
}

func TestNobodyThere(t *testing.T) {
	m := &clienttest.Manual{}
	hc := callers(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://orders/", nil)
	if _, err := hc.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while nothing is known: %v", err)
	}
	m.Set("orders")
	if _, _, err := get(t, hc, "http://orders/"); !errors.Is(err, skerryhttp.ErrNoInstances) || !strings.Contains(err.Error(), "live") {
		t.Errorf("without instances: %v", err)
	}
}

func TestRetries(t *testing.T) {
	m := &clienttest.Manual{}
	good := newBackend(t, fine)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	// Breaks every connection without an answer.
	breaks := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	})
	for _, tc := range []struct {
		name, bad, method, key string
		body                   io.Reader
		sure                   bool // no call fails
	}{
		{"dead, GET", dead, "GET", "", nil, true},
		{"dead, POST", dead, "POST", "", strings.NewReader("x"), true},
		{"breaks, GET", breaks.addr(), "GET", "", nil, true},
		{"breaks, PUT", breaks.addr(), "PUT", "", strings.NewReader("x"), true},
		{"breaks, POST", breaks.addr(), "POST", "", strings.NewReader("x"), false},
		{"breaks, POST with a key", breaks.addr(), "POST", "k", strings.NewReader("x"), true},
		{"dead, a body that cannot be had again", dead, "PUT", "", io.MultiReader(strings.NewReader("x")), false},
	} {
		m.Set("orders", good.addr(), tc.bad)
		failed := 0
		for range 10 {
			hc := callers(t, m)
			for range 3 {
				req, _ := http.NewRequest(tc.method, "http://orders/", tc.body)
				if tc.key != "" {
					req.Header.Set("Idempotency-Key", tc.key)
				}
				resp, err := hc.Do(req)
				if err != nil {
					failed++
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		if tc.sure != (failed == 0) {
			t.Errorf("%s: %d of 30 calls failed", tc.name, failed)
		}
	}
}

// A service that fails everywhere gets a tenth more calls, not twice as many.
func TestRetryBudget(t *testing.T) {
	m := &clienttest.Manual{}
	broken := func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}
	one, two := newBackend(t, broken), newBackend(t, broken)
	m.Set("orders", one.addr(), two.addr())
	hc := callers(t, m)
	const calls = 500
	for range calls {
		if _, _, err := get(t, hc, "http://orders/"); err == nil {
			t.Fatal("a call succeeded")
		}
	}
	// The HTTP client itself sends again what a kept connection lost.
	if sent := one.calls.Load() + two.calls.Load(); sent > calls*13/10+20 {
		t.Errorf("%d requests for %d calls", sent, calls)
	}
}

// An instance that fails is left alone, and is back after its health is good.
func TestFailingInstance(t *testing.T) {
	m := &clienttest.Manual{}
	var bs []*backend
	var addrs []string
	for range 5 {
		b := newBackend(t, fine)
		bs, addrs = append(bs, b), append(addrs, b.addr())
	}
	bad := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	good := http.HandlerFunc(fine)
	bs[0].handler.Store(&bad)
	m.Set("orders", addrs...)
	hc := callers(t, m, skerryhttp.WithHealthPath("/health"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				get(t, hc, "http://orders/")
			}
		})
	}
	wg.Wait()
	if n := bs[0].calls.Load(); n > 40 {
		t.Errorf("an instance that fails got %d of 2000 calls", n)
	}
	bs[0].handler.Store(&good)
	before := bs[0].calls.Load()
	for end := time.Now().Add(20 * time.Second); bs[0].calls.Load() < before+20; {
		if time.Now().After(end) {
			t.Fatalf("the healed instance got %d calls", bs[0].calls.Load()-before)
		}
		get(t, hc, "http://orders/")
	}
}

// A body that is not read to its end is a call that lasts.
func TestBodiesAreCounted(t *testing.T) {
	m := &clienttest.Manual{}
	hang := make(chan struct{})
	defer close(hang)
	slow := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-hang
	})
	m.Set("orders", slow.addr())
	hc := callers(t, m)
	resp, err := hc.Get("http://orders/")
	if err != nil {
		t.Fatal(err)
	}
	quick := newBackend(t, fine)
	m.Set("orders", slow.addr(), quick.addr())
	for end := time.Now().Add(10 * time.Second); quick.calls.Load() == 0; { // until the list is known
		if time.Now().After(end) {
			t.Fatal("no call goes to the other instance")
		}
		// A call that is given up says nothing of the instance.
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://orders/", nil)
		if resp, err := hc.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		cancel()
	}
	before := slow.calls.Load()
	for range 200 {
		if _, _, err := get(t, hc, "http://orders/"); err != nil {
			t.Fatal(err)
		}
	}
	if n := slow.calls.Load() - before; n > 0 {
		t.Errorf("%d more calls went to an instance with an answer that does not end", n)
	}
	resp.Body.Close()
}

// Three servers are replaced one after another, under load, and no call fails.
func TestRollingRestart(t *testing.T) {
	m := &clienttest.Manual{Unacknowledged: true}
	registry := client.New(m, client.WithCacheDir(""))
	defer registry.Close()
	type server struct {
		stop context.CancelFunc
		done chan error
	}
	serve := func() server {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := server{cancel, make(chan error, 1)}
		h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Millisecond)
			io.WriteString(w, "ok")
		})}
		go func() {
			s.done <- skerryhttp.Serve(ctx, h, l, registry, client.Instance{Service: "orders"}, skerryhttp.WithRegistration(client.WithPropagation(100*time.Millisecond)))
		}()
		return s
	}
	servers := []server{serve(), serve(), serve()}
	hc := callers(t, m)
	var failed, calls atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := hc.Post("http://orders/", "text/plain", strings.NewReader("x"))
				calls.Add(1)
				if err != nil || resp.StatusCode != 200 {
					failed.Add(1)
					t.Errorf("call %d: %v", calls.Load(), err)
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	for i := range servers {
		next := serve()
		for s := range registry.Watch(t.Context(), "orders") {
			if len(s.Instances) == len(servers)+1 {
				break
			}
		}
		servers[i].stop()
		if err := <-servers[i].done; err != nil {
			t.Errorf("stop: %v", err)
		}
		servers[i] = next
	}
	close(stop)
	load.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
	if calls.Load() < 500 {
		t.Errorf("%d calls are no load", calls.Load())
	}
	for _, s := range servers {
		s.stop()
		<-s.done
	}
}

func TestServeNeedsAnAddress(t *testing.T) {
	c := client.New(&clienttest.Manual{}, client.WithCacheDir(""))
	defer c.Close()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := skerryhttp.Serve(t.Context(), &http.Server{}, l, c, client.Instance{Service: "orders"}); err == nil || !strings.Contains(err.Error(), "Instance.Address") {
		t.Errorf("error %v", err)
	}
	if _, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
		t.Error("the listener is open still")
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	c := client.New(client.Direct{{ID: "a", Address: addr}}, client.WithCacheDir(""))
	defer c.Close()
	tr := skerryhttp.NewTransport(c)
	defer tr.Close()
	bare := &http.Transport{MaxIdleConnsPerHost: 64}
	for name, tc := range map[string]struct {
		rt  http.RoundTripper
		url string
	}{"skerry": {tr, "http://orders/"}, "bare": {bare, server.URL}} {
		b.Run(name, func(b *testing.B) {
			hc := &http.Client{Transport: tc.rt}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := hc.Get(tc.url)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

// A call that had chosen the instance before its caller knew of the withdrawal is sent a moment later, over a connection that
// was idle: it is answered, and the connection ends with it.
func TestServeAnswersLateCalls(t *testing.T) {
	c := client.New(&clienttest.Manual{}, client.WithCacheDir(""))
	defer c.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "now") })}
	go func() {
		served <- skerryhttp.Serve(ctx, h, l, c, client.Instance{Service: "orders"}, skerryhttp.WithRegistration(client.WithPropagation(time.Millisecond)))
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func() (last bool) {
		t.Helper()
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		if err != nil {
			t.Fatalf("a call fails: %v", err)
		}
		return resp.Close
	}
	if ask() {
		t.Fatal("the first answer ends the connection")
	}
	for s := range c.Watch(t.Context(), "orders") {
		if len(s.Instances) == 1 {
			stop()
			break
		}
	}
	for began := time.Now(); !ask(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("no answer ends the connection")
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
