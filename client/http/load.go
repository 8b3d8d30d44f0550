package skerryhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/skerryhq/skerry/client/lb"
)

// LoadPath is where servers tell their load to callers whose policy is
// [lb.Prequal].
const LoadPath = "/.well-known/skerry-load"

// load is a server's load on its way.
type load struct {
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
			_ = json.NewEncoder(w).Encode(load{now.InFlight, now.Latency.Seconds()}) // who asked has gone
			return
		}
		start, beside := time.Now(), tracker.Begin()
		defer func() { tracker.End(time.Since(began), beside, time.Since(start)) }()
		h.ServeHTTP(w, r)
	})
}

const (
	loadWithin  = time.Second
	loadsAtOnce = 16
)

// wonder has instances asked for their load after a call; with other policies than
// prequal, none.
func (s *service) wonder() {
	for _, n := range s.picker.Ask() {
		select {
		case s.questions <- n:
		default: // there are enough
		}
	}
}

// askLoads asks instances for their load, until the transport is closed.
func (s *service) askLoads() {
	for {
		select {
		case n := <-s.questions:
			if l, err := s.askLoad(n.Value.(string)); err == nil {
				s.picker.Told(s.t.now(), n.Key, l)
			}
		case <-s.t.ctx.Done():
			return
		}
	}
}

// askLoad asks an instance for its load.
func (s *service) askLoad(address string) (lb.Load, error) {
	var l load
	err := s.get(address, LoadPath, loadWithin, func(resp *http.Response) error {
		return json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&l)
	})
	if err == nil && !(l.InFlight >= 0 && l.Latency >= 0 && l.Latency < 1e6) {
		err = fmt.Errorf("skerryhttp: a load of %d calls and %v s makes no sense", l.InFlight, l.Latency)
	}
	return lb.Load{InFlight: l.InFlight, Latency: time.Duration(l.Latency * float64(time.Second))}, err
}

// get asks an instance something of our own, and reads an answer that is 200.
func (s *service) get(address, path string, within time.Duration, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(s.t.ctx, within)
	defer cancel()
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
