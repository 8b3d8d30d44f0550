package skerryprometheus_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/http"
	"github.com/skerryhq/skerry/client/prometheus"
)

// A program that calls two instances by HTTP, of which one fails.
func TestCollector(t *testing.T) {
	answers := func(status int, after time.Duration) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(after)
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		return s
	}
	// The one that fails is the faster one, so that it is called until it is out.
	good, bad := answers(200, 20*time.Millisecond), answers(502, 0)
	m := &clienttest.Manual{}
	c := client.New(m, client.WithCacheDir(""))
	defer c.Close()
	of := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	m.Set("orders", of(good), of(bad))
	tr := skerryhttp.NewTransport(c)
	defer tr.Close()
	for range 60 {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://orders/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(skerryprometheus.NewCollector(client.GroupOf("main", c)))
	want := `
# HELP skerry_client_ejections_total How often an instance was taken out.
# TYPE skerry_client_ejections_total counter
skerry_client_ejections_total{balancer="http-1",client="main",instance="` + of(bad) + `",service="orders"} 1
skerry_client_ejections_total{balancer="http-1",client="main",instance="` + of(good) + `",service="orders"} 0
# HELP skerry_client_list_live Whether the list of instances is the registry's present one (1), or an older one (0).
# TYPE skerry_client_list_live gauge
skerry_client_list_live{client="main",service="orders"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "skerry_client_ejections_total", "skerry_client_list_live"); err != nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`skerry_client_calls_total{balancer="http-1",client="main",instance="` + of(bad) + `",result="failed",service="orders"} 3`,
		`skerry_client_calls_total{balancer="http-1",client="main",instance="` + of(good) + `",result="ok",service="orders"} 57`,
		`skerry_client_out{balancer="http-1",cause="consecutive_failures",client="main",instance="` + of(bad) + `",service="orders"} 1`,
		`skerry_client_list_confirmed_timestamp_seconds{client="main",service="orders"} 1.`,
		`skerry_client_latency_seconds{`, `skerry_client_cost_seconds{`, `skerry_client_share{`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is not told:\n%s", want, w.Body)
		}
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Two connections and two clients of one service have figures of their own.
func TestNamesDoNotClash(t *testing.T) {
	g := &client.Group{}
	for range 2 {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(""))
		defer c.Close()
		m.Set("orders", "10.0.0.1:1")
		defer g.Add("main", c)()
		for range 2 {
			tr := skerryhttp.NewTransport(c)
			defer tr.Close()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://orders/", nil)
			_, _ = tr.RoundTrip(req) // so that it follows the service
		}
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(skerryprometheus.NewCollector(g))
	if n, err := testutil.GatherAndCount(reg); err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
