package door

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/skerryhq/skerry/rescue"
)

func TestRescue(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := httptest.NewServer(Rescue(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/at-once":
			panic("no answer yet")
		case "/late":
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, strings.Repeat("x", 10_000))
			http.NewResponseController(w).Flush()
			panic("half an answer")
		case "/taken":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
			}
			conn.Close()
			panic("without its connection")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "fine")
	}), rescue.New(slog.New(slog.DiscardHandler), registry)))
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // it asks again where a connection ends that it kept
	get := func(path string) (int, string, error) {
		resp, err := client.Get(s.URL + path)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	for path, want := range map[string]int{"/fine": 200, "/at-once": 500, "/late": -1, "/taken": -1, "/abort": -1} {
		status, body, err := get(path)
		switch {
		case want < 0 && err == nil:
			t.Errorf("%s: %d %q: it looks whole", path, status, body)
		case want > 0 && (err != nil || status != want):
			t.Errorf("%s: %d %q, %v, want %d", path, status, body, err, want)
		}
		if status, body, err := get("/fine"); status != 200 || body != "fine" || err != nil {
			t.Fatalf("after %s: %d %q, %v", path, status, body, err)
		}
	}
	// A client whose connection was taken may see its end before the panic is counted.
	const want = "# HELP skerry_panics_total Panics that were recovered, by the part that panicked.\n# TYPE skerry_panics_total counter\n" +
		"skerry_panics_total{part=\"bus\"} 0\nskerry_panics_total{part=\"check\"} 0\nskerry_panics_total{part=\"dns\"} 0\nskerry_panics_total{part=\"http\"} 3\nskerry_panics_total{part=\"parked\"} 0\n"
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = testutil.GatherAndCompare(registry, strings.NewReader(want)); err == nil {
			return
		}
	}
	t.Error(err)
}

func TestRescueCostsNothing(t *testing.T) {
	h := Rescue(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), nil)
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 0 {
		t.Errorf("%v allocations for each request", n)
	}
}
