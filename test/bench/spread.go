package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// spread registers services at one of three servers at a steady rate, and measures until
// all three show them.
func (s *suite) spread(bin string) error {
	g, err := form(s.ctx, bin, 3)
	if err != nil {
		return err
	}
	defer g.stop()
	const rate, most = 3000, 150
	return s.spreadOf(g, fmt.Sprintf("registration at one of three until all hold it, %d/s", rate), rate, most)
}

// spreadOf measures registrations; most bounds the CPU of the servers for one, in microseconds, 0: it is not bounded.
func (s *suite) spreadOf(g *group, what string, rate int, most float64) error {
	const seconds = 10
	if err := g.put(s.ctx, 1); err != nil {
		return err
	}
	for _, p := range g.servers {
		if err := awaitServices(s.ctx, p.http, 1); err != nil {
			return err
		}
	}
	slower, err := s.slower()
	if err != nil {
		return err
	}
	before, err := g.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	var seen sync.WaitGroup
	var mu sync.Mutex
	var delays []time.Duration
	var failed error
	samples, stop := context.WithCancel(s.ctx)
	defer stop()
	seen.Go(func() {
		for port := 2; samples.Err() == nil; port++ {
			d, err := g.delay(samples, port)
			mu.Lock()
			switch {
			case err == nil:
				delays = append(delays, d)
			case samples.Err() == nil && failed == nil:
				failed = err
			}
			mu.Unlock()
		}
	})
	made, err := g.register(s.ctx, rate, seconds*time.Second)
	took := time.Since(began)
	stop()
	seen.Wait()
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	for _, p := range g.servers { // all three hold it before the clock of the CPU stops
		if err := awaitServices(s.ctx, p.http, min(made, paced)); err != nil {
			return err
		}
	}
	after, err := g.cpu()
	if err != nil || len(delays) == 0 {
		return fmt.Errorf("%d samples, %w", len(delays), err)
	}
	then, err := s.slower()
	if err != nil {
		return err
	}
	scale := (slower + then) / 2
	slices.Sort(delays)
	each := float64((after - before).Microseconds()) / float64(made+len(delays))
	p99 := delays[len(delays)*99/100]
	must := "p99 ≤ 50 ms"
	if most > 0 {
		must = fmt.Sprintf("≤ %.0f µs CPU in all, p99 ≤ 50 ms", most)
	}
	s.add(what, must,
		fmt.Sprintf("%.0f/s, %s, p50 %v, p99 %v (%d samples)", float64(made)/took.Seconds(), scaling(each, scale), delays[len(delays)/2].Round(10*time.Microsecond), p99.Round(10*time.Microsecond), len(delays)),
		(most == 0 || each <= most*scale) && p99 <= 50*time.Millisecond && float64(made)/took.Seconds() >= 0.95*float64(rate))
	return nil
}

// paced is how many services are registered again and again, each time on another port: an agent has a bounded number of them.
const paced = 9000

// register registers services at the first server, so many a second.
func (g *group) register(ctx context.Context, rate int, d time.Duration) (made int, err error) {
	workers := max(32, 16*len(g.agents)) // each waits for the disk of its agent
	c, work := caller(workers), make(chan int, rate)
	errs := make(chan error, workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := range work {
				body := fmt.Appendf(nil, `{"Name": "paced-%d", "Port": %d}`, n%paced, 1000+n/paced)
				if err := put(ctx, c, "http://"+g.registrar(n).http+"/v1/agent/service/register", body); err != nil {
					select {
					case errs <- err:
					default:
					}
					return
				}
			}
		})
	}
	const slice = 5 * time.Millisecond
	t := time.NewTicker(slice)
	defer t.Stop()
	for began := time.Now(); time.Since(began) < d && err == nil; {
		select {
		case err = <-errs:
		case <-t.C:
			for due := int(time.Since(began).Seconds() * float64(rate)); made < due; made++ {
				work <- made
			}
		}
	}
	close(work)
	all.Wait()
	return made, err
}

// delay registers the sampled service on a port and returns after how long all servers show it
// there. It was registered before: a watch of an unknown service wakes for each new one, and
// their answers would count as the registrations' cost.
func (g *group) delay(ctx context.Context, port int) (time.Duration, error) {
	arrived := make(chan error, len(g.servers))
	var parked sync.WaitGroup
	for _, p := range g.servers {
		url := "http://" + p.http + "/v1/health/service/" + sampled
		index, _, err := watched(ctx, url)
		if err != nil {
			return 0, err
		}
		parked.Add(1)
		go func() {
			parked.Done()
			for at := 0; at != port && err == nil; {
				index, at, err = watched(ctx, url+"?wait=20s&index="+index)
			}
			arrived <- err
		}()
	}
	parked.Wait()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(30 * time.Millisecond): // the questions arrive before the change
	}
	began := time.Now()
	if err := g.put(ctx, port); err != nil {
		return 0, err
	}
	for range g.servers {
		if err := <-arrived; err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// sampled is the service whose changes are timed.
const sampled = "sampled"

// put registers the sampled service at the first server.
func (g *group) put(ctx context.Context, port int) error {
	return put(ctx, http.DefaultClient, "http://"+g.registrar(0).http+"/v1/agent/service/register", fmt.Appendf(nil, `{"Name": %q, "Port": %d}`, sampled, port))
}

// watched returns the index of an answer and the port of the instance in it; 0: there is none.
func watched(ctx context.Context, url string) (index string, port int, err error) {
	resp, err := http.DefaultClient.Do(must(http.NewRequestWithContext(ctx, http.MethodGet, url, nil)))
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	var all []struct{ Service struct{ Port int } }
	if err = json.NewDecoder(resp.Body).Decode(&all); err == nil && len(all) > 0 {
		port = all[0].Service.Port
	}
	return resp.Header.Get("X-Consul-Index"), port, err
}

// awaitServices waits until a server shows at least so many services.
func awaitServices(ctx context.Context, addr string, n int) error {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		got, err := services(addr)
		if err != nil {
			return err
		}
		if got >= n {
			return nil
		}
	}
	return ctx.Err()
}

// services returns the number of services that a server shows.
func services(addr string) (int, error) {
	body, err := read("http://" + addr + "/v1/catalog/services")
	if err != nil {
		return 0, err
	}
	var all map[string]json.RawMessage
	err = json.Unmarshal(body, &all)
	return len(all), err
}
