package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/tool/bench"
)

// The streams of agents, as the servers name them.
var (
	ownerStream  = link.Kind{Name: "owner"}
	followStream = link.Kind{Name: "follow", Bulk: true}
)

// lone starts one server that takes agents, and returns the address for them.
func (s *suite) lone(bin string) (p *process, at string, err error) {
	at = "127.0.0.1:" + strconv.Itoa(freePort())
	p, err = server("s1", "", "-bootstrap-expect=1", "-server-port", at[len("127.0.0.1:"):])
	if err == nil {
		_, err = p.run(s.ctx, bin)
	}
	if err == nil {
		err = leader(p.http)
	}
	return p, at, err
}

// nodeAgent starts an agent of servers and waits until it is attached.
func (s *suite) nodeAgent(bin, node string, join ...string) (*process, error) {
	p, err := server(node, "")
	if err != nil {
		return nil, err
	}
	p.args = slices.DeleteFunc(p.args, func(a string) bool { return a == "-server" })
	for _, at := range join {
		p.args = append(p.args, "-retry-join", at)
	}
	if _, err := p.run(s.ctx, bin); err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + p.http + "/v1/status/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		if time.Since(began) > 10*time.Second {
			p.stop()
			return nil, fmt.Errorf("the agent %s does not attach: %v", node, err)
		}
	}
}

// behind starts a server and an agent, in place of a server.
func (s *suite) behind(bin string) (*process, error) {
	p, at, err := s.lone(bin)
	if err != nil {
		return nil, err
	}
	a, err := s.nodeAgent(bin, "bench", at)
	if err != nil {
		p.stop()
		return nil, err
	}
	a.below = p
	return a, nil
}

// forwarded compares a read that an agent passes on with the same read at the server.
func (s *suite) forwarded(bin string) error {
	a, err := s.behind(bin)
	if err != nil {
		return err
	}
	defer a.stop()
	if err := put(s.ctx, http.DefaultClient, "http://"+a.below.http+"/v1/kv/large", bytes.Repeat([]byte("x"), 3000)); err != nil {
		return err
	}
	const path = "/v1/kv/large?stale" // 4 KB of JSON, from the server's memory
	get := func(name string, p *process) contender {
		return contender{name, func() (bench.Result, error) {
			return bench.Get(s.ctx, bench.Options{HTTP: p.http, PID: a.below.pid(), Duration: 2 * time.Second}, path)
		}}
	}
	f, err := inTurns([]contender{get("passed on by an agent", a), get("at the server", a.below)})
	if err != nil {
		return err
	}
	ratio := f[0].cpu / f[1].cpu
	s.add("a read of 4 KB that an agent passes on: CPU of the server", "≤ 3 × a local one", fmt.Sprintf("%.2f × (%v; %v)", ratio, f[0], f[1]), ratio <= 3)
	return nil
}

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
		d := link.NewDialer(fmt.Sprint("link-", l))
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
	with, changes, err := f.cost(ctx)
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
		fmt.Sprintf("p50 %v, p99 %v, %.1f µs; %d deliveries of %d changes, %.0f bytes each", p50.Round(100*time.Microsecond), p99.Round(100*time.Microsecond), each, got, changes, float64(f.bytes.Load())/float64(got)),
		p50 <= 5*time.Millisecond && p99 <= 50*time.Millisecond && each <= 15)
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
	d := link.NewDialer("link")
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

// attached holds agents at one server, with a service each, that beat.
func (s *suite) attached(bin string) error {
	p, at, err := s.lone(bin)
	if err != nil {
		return err
	}
	defer p.stop()
	const agents, every = 5000, 5 * time.Second / 3
	time.Sleep(2 * time.Second)
	idle, err := rss(p.pid())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	var answered atomic.Int64
	streams, beats := make([]*link.Stream, agents), make([][]byte, agents)
	err = inParallel(16, 0, agents, func(i int) error {
		node := fmt.Sprint("node-", i)
		owner := skerry.OwnerID("agent/" + node)
		set := &skerry.Set{Node: &skerry.Node{Name: node, Address: "10.0.0.1"}, Instances: []*skerry.Instance{{ID: "web", Service: fmt.Sprint("service-", i%500), Port: 80}}}
		v, digest := skerry.Version{Epoch: 1, Seq: 1}, set.Digest()
		d := link.NewDialer(node)
		stream, err := d.Dial(ctx, at, ownerStream)
		if err != nil {
			return err
		}
		streams[i] = stream
		attach := cluster.Attach{Owner: owner, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: v, Digest: digest, Attach: 1}
		record := cluster.Record{Owner: owner, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: v, Digest: digest, Set: set}
		for _, m := range []cluster.Message{attach, cluster.Announce{Record: record}} {
			b, err := frame.Encode(m)
			if err == nil {
				err = stream.Send(b)
			}
			if err == nil {
				_, err = stream.Receive()
			}
			if err != nil {
				return err
			}
		}
		if beats[i], err = frame.Encode(cluster.Beat{Owner: owner, Epoch: 1, Attach: 1, Digest: digest}); err != nil {
			return err
		}
		go func() {
			for {
				if _, err := stream.Receive(); err != nil {
					return
				}
				answered.Add(1)
			}
		}()
		return nil
	})
	if err != nil {
		return err
	}
	round := func() error {
		began := time.Now()
		for i, stream := range streams {
			if err := stream.Send(beats[i]); err != nil {
				return err
			}
			if due := began.Add(every * time.Duration(i) / agents); time.Until(due) > time.Millisecond {
				time.Sleep(time.Until(due))
			}
		}
		time.Sleep(time.Until(began.Add(every)))
		return nil
	}
	const warm, rounds = 3, 12
	for range warm {
		if err := round(); err != nil {
			return err
		}
	}
	before, err := bench.CPU(p.pid())
	if err != nil {
		return err
	}
	first := answered.Load()
	for range rounds {
		if err := round(); err != nil {
			return err
		}
	}
	after, err := bench.CPU(p.pid())
	if err != nil {
		return err
	}
	n := answered.Load() - first
	full, err := rss(p.pid())
	if err != nil {
		return err
	}
	shown, err := services(p.http)
	if err != nil {
		return err
	}
	each, cpu := float64(full-idle)/agents, float64((after-before).Microseconds())/float64(n)
	s.add(fmt.Sprintf("%d agents attached to one server, a service each", agents), "≤ 70 KB and ≤ 80 µs of CPU a beat, each",
		fmt.Sprintf("%.1f KB, %.1f µs (%d of %d beats answered; %d services shown)", each/1000, cpu, n, rounds*agents, shown), each <= 70e3 && cpu <= 80 && n == rounds*agents && shown >= 500)
	return nil
}

// idleAgent measures an agent that follows 50 services.
func (s *suite) idleAgent(bin string) error {
	a, err := s.behind(bin)
	if err != nil {
		return err
	}
	defer a.stop()
	c := caller(4)
	for n := range 500 {
		body := fmt.Appendf(nil, `{"Address": "10.0.0.1", "TTL": "10m", "Services": [{"ID": "i", "Name": "idle-%d", "Port": 80}]}`, n%50)
		if err := put(s.ctx, c, fmt.Sprintf("http://%s/v1/skerry/owner/owner-%d", a.below.http, n), body); err != nil {
			return err
		}
	}
	for n := range 50 {
		resp, err := http.Get(fmt.Sprintf("http://%s/v1/health/service/idle-%d", a.http, n))
		if err != nil {
			return err
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	time.Sleep(10 * time.Second)
	before, err := bench.CPU(a.pid())
	if err != nil {
		return err
	}
	const watched = 20 * time.Second
	time.Sleep(watched)
	after, err := bench.CPU(a.pid())
	if err != nil {
		return err
	}
	full, err := rss(a.pid())
	share := float64(after-before) / float64(watched) * 100
	s.add("an agent that follows 50 services of 10 instances, idle", "≤ 35 MB, ≤ 0.3 % of a core", fmt.Sprintf("%.1f MB, %.2f %%", float64(full)/1e6, share), full <= 35e6 && share <= 0.3)
	return err
}

// spreadAgents registers services at agents of three servers until all three have them.
func (s *suite) spreadAgents(bin string) error {
	for _, load := range []struct{ agents, rate int }{{1, 3000}, {20, 10_000}} {
		g, err := form(s.ctx, bin, 3)
		if err != nil {
			return err
		}
		for i := range load.agents {
			a, err := s.nodeAgent(bin, fmt.Sprint("agent-", i), g.join...)
			if err != nil {
				g.stop()
				return err
			}
			g.agents = append(g.agents, a)
		}
		err = s.spreadOf(g, fmt.Sprintf("registration at %d agents until all three servers hold it, %d/s", load.agents, load.rate), load.rate, 0)
		g.stop()
		if err != nil {
			return err
		}
	}
	return nil
}
