package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/skerryhq/skerry/tool/bench"
)

// newcomer starts a fourth server and measures until it shows everything, and how fast
// another one answers meanwhile. The newcomer has one processor for itself, as it has on a host
// of its own; all others share another one.
func (s *suite) newcomer(f *fleet) error {
	at := f.g.servers[1]
	load := func(d time.Duration) (float64, error) {
		r, err := bench.Get(s.ctx, bench.Options{HTTP: at.http, Duration: d, Concurrency: 4}, "/v1/health/service/service-1?passing")
		return r.PerSecond, err
	}
	pids := []int{os.Getpid()}
	for _, p := range f.g.servers {
		pids = append(pids, p.pid())
	}
	for _, pid := range pids {
		if err := pin(pid, 0); err != nil {
			return err
		}
	}
	alone, err := load(10 * time.Second)
	if err != nil {
		return err
	}
	type took struct {
		d   time.Duration
		err error
	}
	whole := make(chan took, 1)
	go func() {
		began := time.Now()
		p, err := f.g.add(freePort(), 0)
		if err == nil {
			err = pin(p.pid(), 1)
		}
		if err == nil {
			err = awaitReady(s.ctx, p.http)
		}
		whole <- took{time.Since(began), err}
	}()
	var t took
	var meanwhile float64 // each second until the new one is whole, on average
	for seconds, done := 1, false; !done; seconds++ {
		rate, err := load(time.Second)
		if err != nil {
			return err
		}
		meanwhile += (rate - meanwhile) / float64(seconds)
		select {
		case t = <-whole:
			done = true
		default:
		}
	}
	if t.err != nil {
		return t.err
	}
	body, err := read("http://" + f.g.servers[len(f.g.servers)-1].http + "/v1/health/service/service-1")
	if err != nil {
		return err
	}
	var found []any
	if err := json.Unmarshal(body, &found); err != nil || len(found) != len(f.digests)*f.each/fleetServices {
		return fmt.Errorf("the new server shows %d instances of service-1, %v", len(found), err)
	}
	s.add(fmt.Sprintf("a new server joins at %d instances", len(f.digests)*f.each), "whole ≤ 15 s; others at ≥ 80 %",
		fmt.Sprintf("whole after %v; another answers at %.0f %% (the new one has a core, the others share one)", t.d.Round(100*time.Millisecond), 100*meanwhile/alone), t.d <= 15*time.Second && meanwhile >= .8*alone)
	return nil
}

// awaitReady waits until a server says that its catalog is whole.
func awaitReady(ctx context.Context, addr string) error {
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/v1/status/ready")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return ctx.Err()
}
