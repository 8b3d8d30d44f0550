package skerryhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/skerryhq/skerry/client/internal/prequal"
	"github.com/skerryhq/skerry/client/lb"
)

// LoadPath is where servers tell their load to callers whose policy is
// [lb.Prequal].
const LoadPath = "/.well-known/skerry-load"

// loadBody is a server's load on its way.
type loadBody struct {
	InFlight int     `json:"in_flight"`
	Latency  float64 `json:"latency_seconds"`
}

// WithLoad measures a server's load, and tells it at [LoadPath] to callers whose policy
// is prequal.
func WithLoad(h http.Handler) http.Handler {
	began := time.Now()
	var tracker lb.Tracker
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == LoadPath {
			now := tracker.Load(time.Since(began))
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(loadBody{now.InFlight, now.Latency.Seconds()}) // the client has gone
			return
		}
		start, beside := time.Now(), tracker.Begin()
		defer func() { tracker.End(time.Since(began), beside, time.Since(start)) }()
		h.ServeHTTP(w, r)
	})
}

// askLoad asks an instance for its load.
func (s *service) askLoad(ctx context.Context, n lb.Node) (lb.Load, error) {
	var told loadBody
	err := s.get(ctx, n.Value.(string), LoadPath, func(resp *http.Response) error {
		return json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&told)
	})
	if err != nil {
		return lb.Load{}, err
	}
	return prequal.Load(float64(told.InFlight), told.Latency)
}

// get asks an instance something of our own, and reads an answer that is 200.
func (s *service) get(ctx context.Context, address, path string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.t.o.scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	req.Host = s.name
	resp, err := s.t.o.base.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("skerryhttp: %s answers %s", path, resp.Status)
	}
	if err := read(resp); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	if err == io.EOF {
		err = nil
	}
	return err
}
