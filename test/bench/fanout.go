package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/tool/bench"
)

// fan is followers of services at one server.
type fan struct {
	p          *process
	deliveries atomic.Int64
	bytes      atomic.Int64
	mu         sync.Mutex
	delays     []time.Duration
}

const (
	fanServices = 100
	fanChanges  = 500 // a second
	fanFor      = 10 * time.Second
)

// mark begins the time of a change, in the metadata of its instance.
const mark = `"at":"`

// follow opens a stream that follows services, and reads it until ctx ends.
func (f *fan) follow(ctx context.Context, d *link.Dialer, at string, services []string) error {
	stream, err := d.Dial(ctx, at, followStream)
	if err != nil {
		return err
	}
	ask := follow.Ask{}
	for _, name := range services {
		ask.Follow = append(ask.Follow, follow.Want{Service: name})
	}
	if len(services) > 0 {
		if err := stream.Send(follow.Encode(ask)); err != nil {
			return err
		}
	}
	go func() {
		for {
			frame, err := stream.Receive()
			if err != nil {
				return
			}
			f.take(frame)
		}
	}()
	return nil
}

// take counts the changes in a frame, and their delays.
func (f *fan) take(frame []byte) {
	now := time.Now().UnixMicro()
	f.bytes.Add(int64(len(frame)))
	for rest := frame; ; {
		i := bytes.Index(rest, []byte(mark))
		if i < 0 {
			return
		}
		rest = rest[i+len(mark):]
		end := bytes.IndexByte(rest, '"')
		sent, err := strconv.ParseInt(string(rest[:max(end, 0)]), 10, 64)
		if err != nil || sent == 0 {
			continue
		}
		f.deliveries.Add(1)
		f.mu.Lock()
		f.delays = append(f.delays, time.Duration(now-sent)*time.Microsecond)
		f.mu.Unlock()
	}
}

// change puts one instance of a service anew, marked with the time.
func (f *fan) change(ctx context.Context, c *http.Client, n int, sent int64) error {
	body := fmt.Appendf(nil, `{"Address": "10.0.0.1", "TTL": "10m", "Services": [{"ID": "i", "Name": "fan-%d", "Port": 80, "Meta": {"at": "%d"}}]}`, n%fanServices, sent)
	return put(ctx, c, fmt.Sprintf("http://%s/v1/skerry/owner/owner-%d", f.p.http, n%(10*fanServices)), body)
}

// changes makes changes at a steady rate.
func (f *fan) changes(ctx context.Context) (made int, err error) {
	c := caller(16)
	work, errs := make(chan int, fanChanges), make(chan error, 16)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range work {
				if err := f.change(ctx, c, n, time.Now().UnixMicro()); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for began := time.Now(); time.Since(began) < fanFor && err == nil; {
		select {
		case err = <-errs:
		case <-t.C:
			for due := int(time.Since(began).Seconds() * fanChanges); made < due; made++ {
				work <- made
			}
		}
	}
	close(work)
	all.Wait()
	return made, err
}

// fanout measures changes until followers have them, and the server's CPU for each.
func (s *suite) fanout(bin string) error {
	for _, kind := range []struct {
		name  string
		links int
		share int // of the services that each follows: one of so many
	}{{"67 of 200 links follow all", 67, 1}, {"200 links follow a tenth each", 200, 10}} {
		p, at, err := s.lone(bin)
		if err != nil {
			return err
		}
		err = s.fan(p, at, kind.name, kind.links, kind.share)
		p.stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) fan(p *process, at, name string, links, share int) error {
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	f := &fan{p: p}
	c := caller(4)
	for n := range 10 * fanServices {
		if err := f.change(ctx, c, n, 0); err != nil {
			return err
		}
	}
	alone, made, err := f.cost(ctx)
	if err != nil {
		return err
	}
	for l := range 200 {
		d := link.NewDialer(fmt.Sprint("link-", l), nil)
		defer d.Close()
		var services []string
		for n := range fanServices {
			if l < links && n%share == l%share {
				services = append(services, fmt.Sprint("fan-", n))
			}
		}
		if err := f.follow(ctx, d, at, services); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second) // the first views
	f.bytes.Store(0)
	f.deliveries.Store(0)
	f.mu.Lock()
	f.delays = nil
	f.mu.Unlock()
	var with time.Duration
	var changes int
	scale, err := s.scaled(func() (err error) {
		with, changes, err = f.cost(ctx)
		return err
	})
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	got := f.deliveries.Load()
	f.mu.Lock()
	delays := slices.Sorted(slices.Values(f.delays))
	f.mu.Unlock()
	if len(delays) == 0 {
		return fmt.Errorf("no change was delivered of %d", changes)
	}
	extra := with - time.Duration(float64(alone)*float64(changes)/float64(made))
	each := float64(extra.Microseconds()) / float64(got)
	p50, p99 := delays[len(delays)/2], delays[len(delays)*99/100]
	s.add("a change until followers have it, "+name+", 500 changes/s", "p50 ≤ 5 ms, p99 ≤ 50 ms, ≤ 15 µs of CPU a delivery",
		fmt.Sprintf("p50 %v, p99 %v, %s; %d deliveries of %d changes, %.0f bytes each", p50.Round(100*time.Microsecond), p99.Round(100*time.Microsecond), scaling(each, scale), got, changes, float64(f.bytes.Load())/float64(got)),
		p50 <= 5*time.Millisecond && p99 <= 50*time.Millisecond && each <= 15*scale)
	return nil
}

// cost returns the CPU that the server uses for changes.
func (f *fan) cost(ctx context.Context) (cpu time.Duration, made int, err error) {
	before, err := bench.CPU(f.p.pid())
	if err != nil {
		return 0, 0, err
	}
	if made, err = f.changes(ctx); err != nil {
		return 0, 0, err
	}
	after, err := bench.CPU(f.p.pid())
	return after - before, made, err
}

// small measures the bytes of one change in a service of 1,000 instances.
func (s *suite) small(bin string) error {
	p, at, err := s.lone(bin)
	if err != nil {
		return err
	}
	defer p.stop()
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	var b strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&b, `,{"ID": "web-%d", "Name": "web", "Port": %d, "Tags": ["v1", "primary"], "Meta": {"zone": "a"}, "Check": {"TTL": "1h", "Status": "passing"}}`, n, n)
	}
	if err := put(ctx, http.DefaultClient, "http://"+p.http+"/v1/skerry/set", []byte(`{"Services": [`+b.String()[1:]+`]}`)); err != nil {
		return err
	}
	d := link.NewDialer("link", nil)
	defer d.Close()
	f := &fan{p: p}
	if err := f.follow(ctx, d, at, []string{"web"}); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	whole := f.bytes.Swap(0)
	if err := put(ctx, http.DefaultClient, "http://"+p.http+"/v1/agent/check/fail/service:web-500", nil); err != nil {
		return err
	}
	time.Sleep(time.Second)
	got := f.bytes.Load()
	s.add("bytes to a follower for a change of one instance in 1,000", "≤ 1.2 KB", fmt.Sprintf("%d bytes; the whole view has %d", got, whole), got > 0 && got <= 1200)
	return nil
}
