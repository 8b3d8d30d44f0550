package door

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestBudget(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	headers := func(n int) http.Header {
		h := http.Header{}
		for i := range n {
			h.Set(fmt.Sprint("X-", i), "")
		}
		return h
	}
	b := NewBudget(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), 10, newRefused(prometheus.NewRegistry()))
	for name, tt := range map[string]struct {
		path, query string
		header      http.Header
		want        int
	}{
		"usual":                 {path: "/v1/kv/a", want: 200},
		"longest path":          {path: "/" + long(MaxPath-1), want: 200},
		"path too long":         {path: "/" + long(MaxPath), want: 414},
		"escaped path too long": {path: "/" + strings.Repeat("é", MaxPath/2), want: 414},
		"longest parameter":     {path: "/", query: "tag=" + long(MaxParameter-4), want: 200},
		"parameter too long":    {path: "/", query: "tag=" + long(MaxParameter-3), want: 400},
		"name too long":         {path: "/", query: "a&" + long(MaxParameter+1), want: 400},
		"long filter":           {path: "/", query: "passing&filter=" + long(100_000), want: 200},
		"filter too long":       {path: "/", query: "filter=" + long(MaxQuery), want: 414},
		"many parameters":       {path: "/", query: strings.Repeat("tag=a&", MaxParameters-1) + "tag=a", want: 200},
		"too many parameters":   {path: "/", query: strings.Repeat("tag=a&", MaxParameters) + "tag=a", want: 400},
		"empty parameters":      {path: "/", query: strings.Repeat("&", MaxParameters+1), want: 400},
		"many headers":          {path: "/", header: headers(MaxFields), want: 200},
		"too many headers":      {path: "/", header: headers(MaxFields + 1), want: 431},
		"long token":            {path: "/", header: http.Header{"X-Consul-Token": {long(MaxToken)}}, want: 200},
		"token too long":        {path: "/", header: http.Header{"X-Consul-Token": {long(MaxToken + 1)}}, want: 431},
		"bearer too long":       {path: "/", header: http.Header{"Authorization": {"Bearer " + long(MaxToken)}}, want: 431},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawQuery = tt.path, tt.query
		if tt.header != nil {
			r.Header = tt.header
		}
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		if w.Code != tt.want || w.Body.Len() > 200 {
			t.Errorf("%s: %d %q, want %d", name, w.Code, w.Body, tt.want)
		}
	}
}

// One address may have only so many requests under way over HTTP/2; another is not
// concerned.
func TestStreams(t *testing.T) {
	hold := make(chan struct{})
	inside := make(chan struct{}, 20)
	b := NewBudget(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-hold }), 10, newRefused(prometheus.NewRegistry()))
	ask := func(from string, major int) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.ProtoMajor = from, major
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		return w.Code
	}
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() { ask("10.0.0.1:1", 2) })
		<-inside
	}
	if got := ask("[::ffff:10.0.0.1]:2", 2); got != http.StatusTooManyRequests {
		t.Errorf("one too many: %d", got)
	}
	for _, other := range []struct {
		from  string
		major int
	}{{"10.0.0.2:1", 2}, {"10.0.0.1:1", 1}, {"@", 2}} {
		asking.Go(func() { ask(other.from, other.major) })
		<-inside
	}
	close(hold)
	asking.Wait()
	if n := b.streams.Len(); n != 0 {
		t.Errorf("%d addresses are counted with nothing under way", n)
	}
	if got := ask("10.0.0.1:1", 2); got != http.StatusOK {
		t.Errorf("once they are gone: %d", got)
	}
}

// A body that does not come is given up, and one that came leaves no deadline behind.
func TestTimedBody(t *testing.T) {
	var read error
	waited := make(chan error, 1)
	b := NewBudget(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tb := r.Body.(*timedBody)
		if r.URL.Path == "/slow" {
			tb.c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // in place of bodyWithin
			_, read = io.ReadAll(r.Body)
			return
		}
		tb.c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		io.ReadAll(r.Body)
		select {
		case <-r.Context().Done():
			waited <- r.Context().Err()
		case <-time.After(200 * time.Millisecond):
			waited <- nil
		}
	}), -1, newRefused(prometheus.NewRegistry()))
	s := httptest.NewServer(b)
	defer s.Close()
	send := func(path, body string) {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\n%s", path, body)
		io.ReadAll(c)
	}
	send("/slow", "12345")
	if read == nil {
		t.Error("half a body was waited for")
	}
	send("/", "1234567890")
	if err := <-waited; err != nil {
		t.Errorf("a request whose body came was ended: %v", err)
	}
}
