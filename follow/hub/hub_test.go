package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/follow/hub"
)

// follower is the other end of a stream. Its frames wait for it, without a buffer.
type follower struct {
	asks, tells chan []byte
	closed      chan struct{}
	err         error
}

func serve(ctx context.Context, s *hub.Server) *follower {
	f := &follower{make(chan []byte), make(chan []byte), make(chan struct{}), nil}
	go func() {
		f.err = s.Serve(ctx, "web1", f)
		close(f.closed)
	}()
	f.asks <- []byte("{}")
	return f
}

func (f *follower) Send(frame []byte) error {
	select {
	case f.tells <- frame:
		return nil
	case <-f.closed:
		return io.ErrClosedPipe
	}
}

func (f *follower) Receive() ([]byte, error) {
	select {
	case frame := <-f.asks:
		return frame, nil
	case <-f.closed:
		return nil, io.EOF
	}
}

func (f *follower) follow(services ...string) {
	var a follow.Ask
	for _, s := range services {
		a.Follow = append(a.Follow, follow.Want{Service: s})
	}
	f.asks <- follow.Encode(a)
}

// next returns the next views that are told.
func (f *follower) next(t *testing.T) []follow.View {
	t.Helper()
	for {
		var tell follow.Tell
		if err := json.Unmarshal(<-f.tells, &tell); err != nil {
			t.Fatal(err)
		}
		if len(tell.Views) > 0 {
			return tell.Views
		}
	}
}

func within(t *testing.T, test func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server)) {
	synctest.Test(t, func(t *testing.T) {
		table := catalog.New(catalog.Config{})
		s := hub.NewServer(hub.Config{Discovery: skerry.Discover(table), Ring: begins, State: func() follow.State { return follow.State{} }, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { s.Run(ctx) })
		defer func() { cancel(); done.Wait(); synctest.Wait() }()
		test(t, ctx, table, s)
	})
}

var seq uint64

// put announces n instances of web, whose port is the same.
func put(t testing.TB, table *catalog.Table, n, port int, output string) {
	t.Helper()
	set := &skerry.Set{Node: &skerry.Node{Name: "n1"}}
	for i := range n {
		set.Instances = append(set.Instances, &skerry.Instance{ID: fmt.Sprintf("web-%04d", i), Service: "web", Port: port})
	}
	set.Checks = []*skerry.Check{{ID: "c", ServiceID: "web-0000", ServiceName: "web", Status: skerry.Passing, Output: output}}
	seq++
	if _, err := table.Announce(skerry.Announcement{Owner: "agent/n1", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: seq}, Set: set, Digest: set.Digest()}); err != nil {
		t.Fatal(err)
	}
}

// A follower that does not read is sent the newest state afterwards, in place of all steps.
func TestASlowFollowerGetsTheNewestState(t *testing.T) {
	within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server) {
		put(t, table, 2, 0, "")
		f := serve(ctx, s)
		<-f.tells // the state
		f.follow("web")
		if v := f.next(t); len(v) != 1 || !v[0].Whole || len(v[0].Entries) != 2 {
			t.Fatalf("the first view: %+v", v)
		}
		for port := range 50 {
			put(t, table, 2+port%3, port+1, "")
			time.Sleep(10 * time.Millisecond)
		}
		last := follow.View{}
		for n := 0; last.Digest != follow.DigestOf(table.Service("web")); n++ {
			if n == 2 {
				t.Fatal("a slow follower is sent every step")
			}
			last = f.next(t)[0]
		}
		if last.Whole || len(last.Entries) != 3 || len(last.Removed) != 0 {
			t.Errorf("the last change: %+v", last)
		}
	})
}

// A view with many entries comes in parts that belong together.
func TestALargeViewComesInParts(t *testing.T) {
	within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server) {
		put(t, table, 2500, 1, "")
		f := serve(ctx, s)
		<-f.tells
		f.follow("web")
		got, parts := 0, []follow.View{}
		for len(parts) == 0 || parts[len(parts)-1].Further {
			parts = append(parts, f.next(t)...)
		}
		for _, p := range parts {
			got += len(p.Entries)
		}
		if got != 2500 || len(parts) != 3 {
			t.Errorf("%d entries in %d parts", got, len(parts))
		}
	})
}

// A new output of a check wakes no follower. It comes within a minute.
func TestOutputsComeOnceAMinute(t *testing.T) {
	within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server) {
		put(t, table, 2, 1, "old")
		f := serve(ctx, s)
		<-f.tells
		f.follow("web")
		f.next(t)
		put(t, table, 2, 1, "new")
		began := time.Now()
		v := f.next(t)
		if passed := time.Since(began); passed < 10*time.Second || passed > time.Minute {
			t.Errorf("the output came after %v", passed)
		}
		if len(v) != 1 || len(v[0].Entries) != 1 || v[0].Entries[0].Checks[0].Output != "new" {
			t.Errorf("the change of an output: %+v", v)
		}
	})
}

// A follower that asks for too much, or for nonsense, is told off and ends alone. What it followed is let go.
func TestFollowersAreBounded(t *testing.T) {
	for name, frames := range map[string][]string{
		"no JSON":   {`{`},
		"no name":   {`{"follow":[{"service":""}]}`},
		"long name": {`{"follow":[{"service":"` + strings.Repeat("a", 513) + `"}]}`},
		"many":      {many(0, 4000), many(4000, 4097)},
	} {
		within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server) {
			f := serve(ctx, s)
			go func() {
				for {
					select {
					case <-f.tells:
					case <-f.closed:
						return
					}
				}
			}()
			for _, frame := range frames {
				f.asks <- []byte(frame)
			}
			<-f.closed
			if f.err == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
}

func many(from, to int) string {
	var a follow.Ask
	for n := from; n < to; n++ {
		a.Follow = append(a.Follow, follow.Want{Service: fmt.Sprint("s", n)})
	}
	return string(follow.Encode(a))
}

// A subscription names what changed, once however often it changed, and only for its followers.
func TestSubscriptionsNameWhatChanged(t *testing.T) {
	within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server) {
		one, two := s.Subscribe(), s.Subscribe()
		defer two.Close()
		one.Follow("Web", 0)
		two.Follow("db", 0)
		for _, sub := range []skerry.Subscription{one, two} {
			if names, err := sub.Next(ctx); err != nil || len(names) != 1 {
				t.Fatalf("at first: %v, %v", names, err)
			}
		}
		put(t, table, 1, 1, "")
		put(t, table, 1, 2, "")
		time.Sleep(time.Second)
		if names, err := one.Next(ctx); err != nil || len(names) != 1 || names[0] != "web" {
			t.Errorf("after two changes: %v, %v", names, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		for _, sub := range []skerry.Subscription{one, two} {
			if names, err := sub.Next(short); err == nil && !(sub == two && len(names) == 1) { // names without a service share topics
				t.Errorf("nothing changed: %v", names)
			}
		}
		one.Close()
		one.Follow("web", 0) // it has no effect, and leaks nothing
		put(t, table, 1, 3, "")
	})
}

// begins is where the positions of readers begin.
func begins(string) skerry.Position { return 1 << 30 }

// Readers of a service stand evenly on the ring, at two servers as well, and keep their places while others come and go.
func TestPositionsLieEvenly(t *testing.T) {
	within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, one *hub.Server) {
		two := hub.New(skerry.Discover(table), func(string) skerry.Position { return 0x9e3779b9 })
		var subs []skerry.Subscription
		for n := range 300 {
			var s skerry.Subscription
			if s = one.Subscribe(); n%3 == 0 {
				s = two.Subscribe()
			}
			s.Follow("web", 0)
			subs = append(subs, s)
		}
		defer func() {
			for _, s := range subs {
				s.Close()
			}
		}()
		if got := load(subs); got > 1.25 {
			t.Errorf("of 1,000 instances the one with most of 300 callers of 32 has %.2f times the mean: want 1.25 at most", got)
		}
		first, last := subs[1].Position("web"), subs[298].Position("WEB")
		subs[1].Close()
		subs[1] = one.Subscribe()
		if got := subs[1].Position("web"); got != 0 {
			t.Errorf("a reader that follows nothing stands at %v", got)
		}
		subs[1].Follow("web", 0)
		subs[1].Follow("web", 0)
		if got := subs[1].Position("web"); got != first {
			t.Errorf("a newcomer stands at %v, want the place that is free, %v", got, first)
		}
		if got := subs[298].Position("web"); got != last {
			t.Errorf("a reader moved from %v to %v as others came and went", last, got)
		}
		moved := two.Subscribe()
		defer moved.Close()
		moved.Follow("web", last)
		if got := moved.Position("web"); got != last {
			t.Errorf("a reader that came with position %v stands at %v", last, got)
		}
	})
}

// load is the most callers of one of 1,000 instances, against the mean, where each caller takes 32 from its place on.
func load(subs []skerry.Subscription) float64 {
	var callers [1000]int
	for _, s := range subs {
		from := int(s.Position("web").Part() * 1000)
		for n := range 32 {
			callers[(from+n)%1000]++
		}
	}
	return float64(slices.Max(callers[:])) / (float64(len(subs)) * 32 / 1000)
}

// FuzzServe lets a follower send arbitrary frames.
func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"follow":[{"service":"web","digest":"1"}],"drop":["web","db"]}`))
	f.Add([]byte(`{"drop":[""],"follow":null}`))
	table := catalog.New(catalog.Config{})
	put(f, table, 3, 1, "")
	s := hub.NewServer(hub.Config{Discovery: skerry.Discover(table), Ring: begins, State: func() follow.State { return follow.State{} }, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, frame []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		one := serve(ctx, s)
		<-one.tells
		one.asks <- frame
		select {
		case one.asks <- []byte(`{"follow":[{"service":"web"}]}`):
		case <-one.closed:
			return
		}
		select { // it ends, or goes on answering
		case <-one.closed:
		case <-one.tells:
		}
		cancel()
		for { // a stream ends with its context; this one has to be read until it does
			select {
			case <-one.tells:
				continue
			case <-one.closed:
			}
			return
		}
	})
}

// BenchmarkDelivery sends one change of a service of 1,000 instances to 67 followers.
func BenchmarkDelivery(b *testing.B) {
	table := catalog.New(catalog.Config{})
	set := &skerry.Set{Node: &skerry.Node{Name: "n1", Address: "10.0.0.1", Meta: map[string]string{"consul-version": "1.22.0"}}}
	for i := range 1000 {
		set.Instances = append(set.Instances, &skerry.Instance{ID: fmt.Sprintf("web-%04d", i), Service: "web", Port: i})
	}
	announce := func(d *skerry.Delta, base uint64) {
		a := skerry.Announcement{Owner: "agent/n1", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: base + 1}, Base: skerry.Version{Epoch: 1, Seq: base}, Delta: d}
		if d == nil {
			a.Set = set
		}
		if _, err := table.Announce(a); err != nil {
			b.Fatal(err)
		}
	}
	announce(nil, 0)
	s := hub.NewServer(hub.Config{Discovery: skerry.Discover(table), Ring: begins, State: func() follow.State { return follow.State{} }, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var got sync.WaitGroup
	for range 67 {
		f := serve(ctx, s)
		<-f.tells
		f.follow("web")
		<-f.tells
		go func() {
			for {
				select {
				case <-f.tells:
					got.Done()
				case <-f.closed:
					return
				}
			}
		}()
	}
	b.ReportAllocs()
	base := uint64(1)
	for b.Loop() {
		got.Add(67)
		announce(&skerry.Delta{Instances: []*skerry.Instance{{ID: "web-0500", Service: "web", Port: int(base)}}}, base)
		base++
		got.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/67, "ns/delivery")
}
