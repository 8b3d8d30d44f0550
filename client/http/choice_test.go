package skerryhttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/http"
	"github.com/skerryhq/skerry/client/lb"
)

func TestHash(t *testing.T) {
	m := &clienttest.Manual{}
	name := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer).String())
	}
	one, two, three := newBackend(t, name), newBackend(t, name), newBackend(t, name)
	m.Set("orders", one.addr(), two.addr(), three.addr())
	hc, other := callers(t, m, skerryhttp.WithBalancer(lb.Options{Policy: lb.Hash})), callers(t, m, skerryhttp.WithBalancer(lb.Options{Policy: lb.Hash}))
	used := map[string]bool{}
	for customer := range 40 {
		to := func(hc *http.Client) string {
			req, err := http.NewRequestWithContext(client.WithHashKey(t.Context(), fmt.Sprint(customer)), "GET", "http://orders/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := hc.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return string(b)
		}
		first := to(hc)
		used[first] = true
		if again := to(other); again != first || to(hc) != first {
			t.Fatalf("customer %d is served by %s and by %s", customer, first, again)
		}
	}
	if len(used) != 3 {
		t.Errorf("%d of 3 servers are used", len(used))
	}
}

func TestPrequal(t *testing.T) {
	m := &clienttest.Manual{}
	var addrs []string
	var asked, toSlow atomic.Int64
	for n := range 4 {
		h := skerryhttp.WithLoad(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n == 0 {
				toSlow.Add(1)
				time.Sleep(100 * time.Millisecond)
			}
		}))
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == skerryhttp.LoadPath {
				asked.Add(1)
			}
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		addrs = append(addrs, strings.TrimPrefix(s.URL, "http://"))
	}
	m.Set("orders", addrs...)
	hc := callers(t, m, skerryhttp.WithBalancer(lb.Options{Policy: lb.Prequal}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				if status, _, err := get(t, hc, "http://orders/"); err != nil || status != 200 {
					t.Errorf("%d, %v", status, err)
				}
			}
		})
	}
	wg.Wait()
	if asked.Load() == 0 || toSlow.Load() > 100 {
		t.Errorf("asked %d times; %d of 1000 calls went to the slow one", asked.Load(), toSlow.Load())
	}
}

// One of two instances hangs now and then: such calls are answered by the other, and
// what the hedges may cost is bounded.
func TestHedging(t *testing.T) {
	m := &clienttest.Manual{}
	var sent, took, hung, left atomic.Int64
	answers := func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	}
	some := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		sent.Add(1)
		if took.Add(1)%30 == 1 { // its first call, too: it may get few
			hung.Add(1)
			select {
			case <-r.Context().Done():
				left.Add(1)
			case <-time.After(20 * time.Second):
			}
			return
		}
		w.Write(b)
	}
	one, two := newBackend(t, answers), newBackend(t, some)
	m.Set("orders", one.addr(), two.addr())
	hc := callers(t, m, skerryhttp.WithHedging(30*time.Millisecond))
	const calls = 300
	for n := range calls {
		text := fmt.Sprint("call ", n)
		req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://orders/", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != text || resp.Request.URL.Host != "orders" {
			t.Fatalf("%q, %v, %v", b, err, resp.Request.URL)
		}
	}
	if hung.Load() == 0 || sent.Load() > calls+10+calls/20+1 {
		t.Errorf("%d calls hung, %d were sent for %d", hung.Load(), sent.Load(), calls)
	}
	for deadline := time.Now().Add(10 * time.Second); left.Load() < hung.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d calls that hang are still waited for", hung.Load()-left.Load(), hung.Load())
		}
	}
	// A method that may not be repeated is not hedged.
	slowly := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sent.Add(1); time.Sleep(60 * time.Millisecond) })
	one.handler.Store(&slowly)
	two.handler.Store(&slowly)
	before := sent.Load()
	for range 10 {
		resp, err := hc.Post("http://orders/", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if got := sent.Load() - before; got != 10 {
		t.Errorf("%d were sent for 10 POSTs", got)
	}
}

func TestLoad(t *testing.T) {
	wait := make(chan struct{})
	s := httptest.NewServer(skerryhttp.WithLoad(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-wait })))
	defer s.Close()
	done := make(chan error)
	go func() {
		resp, err := http.Get(s.URL + "/work")
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	told := func() string {
		resp, err := http.Get(s.URL + skerryhttp.LoadPath)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.HasPrefix(told(), `{"in_flight":1,`); {
		if time.Now().After(deadline) {
			t.Fatalf("told %s while a call is under way", told())
		}
	}
	close(wait)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := told(); !strings.HasPrefix(got, `{"in_flight":0,"latency_seconds":0.`) {
		t.Errorf("afterwards %s", got)
	}
}
