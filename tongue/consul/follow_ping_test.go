package consul_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/follow/hub"
	"github.com/skerryhq/skerry/tongue/consul"
)

// commented notes when a stream had a comment.
type commented struct {
	*httptest.ResponseRecorder
	began    time.Time
	comments []time.Duration
}

func (c *commented) SetWriteDeadline(time.Time) error { return nil }
func (c *commented) FlushError() error                { return nil }

func (c *commented) Write(b []byte) (int, error) {
	if string(b) == ":\n\n" {
		c.comments = append(c.comments, time.Since(c.began))
	}
	return c.ResponseRecorder.Write(b)
}

// A stream has a comment after the silence that its client chose.
func TestAStreamHasCommentsAsOftenAsItsClientWants(t *testing.T) {
	for query, want := range map[string][]time.Duration{
		"":           {15 * time.Second, 30 * time.Second},
		"&ping=15s":  {15 * time.Second, 30 * time.Second},
		"&ping=60s":  nil,
		"&ping=10s":  {10 * time.Second, 20 * time.Second, 30 * time.Second},
		"&ping=9.5s": {9500 * time.Millisecond, 19 * time.Second, 28500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := skerry.Discover(catalog.New(catalog.Config{}))
			front, err := consul.New(consul.Config{}, consul.Backend{
				Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Discovery: d, Subscriber: hub.New(d, begins),
			}, consul.NewMetrics(prometheus.NewRegistry()))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 32*time.Second)
			defer cancel()
			w := &commented{ResponseRecorder: httptest.NewRecorder(), began: time.Now()}
			front.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/skerry/follow?service=web"+query, nil))
			if w.Code != http.StatusOK || !slices.Equal(w.comments, want) {
				t.Errorf("%q: %d, comments at %v, want %v", query, w.Code, w.comments, want)
			}
		})
	}
}
