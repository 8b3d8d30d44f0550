package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry/tool/bench"
)

// fleet is lease owners, each with instances of several services.
type fleet struct {
	g           *group
	servers     []*process // that were there at the start, to beat at
	c           *http.Client
	each        int           // instances of an owner
	ttl         time.Duration // of a lease
	digests     []string      // by owner
	beats, lost atomic.Int64
}

const (
	fleetServices = 5000 // that the instances belong to, in turn
	fleetWorkers  = 16
)

// grow announces owners until there are n.
func (f *fleet) grow(ctx context.Context, n int) error {
	from := len(f.digests)
	f.digests = append(f.digests, make([]string, n-from)...)
	return inParallel(fleetWorkers, from, n, func(i int) error {
		var b strings.Builder
		fmt.Fprintf(&b, `{"Address": "10.%d.%d.1", "TTL": %q, "Services": [`, i/250, i%250, f.ttl.String())
		for k := range f.each {
			if k > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, `{"ID": "i%d", "Name": "service-%d", "Port": %d, "Tags": ["v1"], "Meta": {"zone": "a"}}`, k, (i*f.each+k)%fleetServices, 8000+k)
		}
		b.WriteString("]}")
		return f.put(ctx, i, b.String())
	})
}

func (f *fleet) put(ctx context.Context, i int, set string) error {
	req := must(http.NewRequestWithContext(ctx, http.MethodPut, fmt.Sprintf("http://%s/v1/skerry/owner/owner-%d", f.g.servers[0].http, i), strings.NewReader(set)))
	resp, err := f.c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Digest string }
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("owner %d: %d %s %v", i, resp.StatusCode, body, err)
	}
	f.digests[i] = answer.Digest
	return nil
}

// beat beats for each owner once, at servers by chance if any, else at the first.
func (f *fleet) beat(ctx context.Context, any bool) error {
	return inParallel(fleetWorkers, 0, len(f.digests), func(i int) error {
		at := f.g.servers[0]
		if any {
			at = f.servers[rand.IntN(len(f.servers))]
		}
		err := put(ctx, f.c, fmt.Sprintf("http://%s/v1/skerry/owner/owner-%d/beat?digest=%s", at.http, i, f.digests[i]), nil)
		f.beats.Add(1)
		if err != nil {
			f.lost.Add(1)
		}
		return err
	})
}

// live beats each third of the TTL until ctx ends.
func (f *fleet) live(ctx context.Context, any bool) error {
	t := time.NewTicker(f.ttl / 3)
	defer t.Stop()
	for {
		if err := f.beat(ctx, any); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// inParallel calls do for each number, by several workers, and returns an error of one.
func inParallel(workers, from, to int, do func(i int) error) error {
	var all sync.WaitGroup
	var next atomic.Int64
	next.Store(int64(from))
	errs := make(chan error, workers)
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < to; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

const (
	fleetOwners = 2000
	fleetEach   = 250
)

// owners holds 500,000 instances on servers: the cost per change and per beat on the way
// there, ten minutes of beats, and a server that joins.
func (s *suite) owners(bin string) error {
	g, err := form(s.ctx, bin, 3)
	if err != nil {
		return err
	}
	defer g.stop()
	f := &fleet{g: g, servers: slices.Clone(g.servers), c: caller(fleetWorkers), each: fleetEach, ttl: 30 * time.Second}
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	if err := s.growth(f); err != nil {
		return err
	}
	living := make(chan error, 1)
	go func() { living <- f.live(ctx, true) }()
	if !s.skip("owners beats") {
		if err := s.tenMinutes(f, living); err != nil {
			return err
		}
	}
	if !s.skip("owners newcomer") {
		if err := s.newcomer(f); err != nil {
			return err
		}
	}
	stop()
	return <-living
}

// fleetFor is how long the beats of the fleet are watched.
const fleetFor = 10 * time.Minute

func (s *suite) tenMinutes(f *fleet, living chan error) error {
	p := f.g.servers[0]
	before, err := bench.CPU(p.pid())
	if err != nil {
		return err
	}
	beats, began := f.beats.Load(), time.Now()
	select {
	case err := <-living:
		return err
	case <-time.After(fleetFor):
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	after, err := bench.CPU(p.pid())
	if err != nil {
		return err
	}
	full, err := rss(p.pid())
	if err != nil {
		return err
	}
	cores := (after - before).Seconds() / time.Since(began).Seconds()
	s.add(fmt.Sprintf("%d instances of %d leases on three servers, %v of beats: one of them", len(f.digests)*f.each, len(f.digests), fleetFor), "≤ 1 core, ≤ 1.2 GB",
		fmt.Sprintf("%.2f cores, %.2f GB, %d beats, %d failed", cores, float64(full)/1e9, f.beats.Load()-beats, f.lost.Load()), cores <= 1 && full <= 1.2e9)
	return nil
}
