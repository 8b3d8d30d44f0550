package wan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

// world is servers that ask each other over ways of a length.
type world struct {
	mu      sync.Mutex
	by      map[string]*Directory // by address
	servers map[string][]Server
	far     map[[2]string]time.Duration // the round trip between datacenters; by default 10 ms
	cut     map[string]bool             // datacenters and addresses that do not answer and are not heard
	asked   map[string]int              // by address
}

func newWorld() *world {
	return &world{by: map[string]*Directory{}, servers: map[string][]Server{}, far: map[[2]string]time.Duration{}, cut: map[string]bool{}, asked: map[string]int{}}
}

var errCut = errors.New("no answer")

func (w *world) add(ctx context.Context, wg *sync.WaitGroup, dc string, n int, join ...string) {
	for i := range n {
		s := Server{Name: fmt.Sprint("s", i+1), Datacenter: dc, Address: fmt.Sprintf("%s-%d:8300", dc, i+1)}
		w.mu.Lock()
		w.servers[dc] = append(w.servers[dc], s)
		w.mu.Unlock()
		w.start(ctx, wg, s, join...)
	}
}

func (w *world) start(ctx context.Context, wg *sync.WaitGroup, s Server, join ...string) {
	d := New(Config{
		Self: s, RetryEvery: 30 * time.Second, Log: slog.New(slog.DiscardHandler), Join: join,
		Own: func() []Server {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Clone(w.servers[s.Datacenter])
		},
		Ask: func(ctx context.Context, address string, word Word) (Word, error) {
			return w.ask(ctx, s, address, word)
		},
	})
	w.mu.Lock()
	w.by[s.Address] = d
	w.mu.Unlock()
	wg.Go(func() { d.Run(ctx) })
}

func (w *world) ask(ctx context.Context, from Server, address string, word Word) (Word, error) {
	dc, _, _ := strings.Cut(address, "-")
	w.mu.Lock()
	to, cut := w.by[address], w.cut[dc] != w.cut[from.Datacenter] || w.cut[address] || w.cut[from.Address]
	trip := max(w.far[[2]string{from.Datacenter, dc}], w.far[[2]string{dc, from.Datacenter}])
	w.asked[address]++
	w.mu.Unlock()
	if trip == 0 {
		trip = 10 * time.Millisecond
	}
	if cut || to == nil {
		<-ctx.Done()
		return Word{}, errCut
	}
	time.Sleep(trip)
	return to.Hear(word)
}

func (w *world) set(cut bool, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range names {
		w.cut[n] = cut
	}
}

// names are the datacenters that a server knows, the nearest first, those that it does not reach in brackets.
func names(d *Directory) string {
	var out []string
	for _, dc := range d.Datacenters() {
		name := dc.Name
		if !dc.Reached {
			name = "(" + name + ")"
		}
		out = append(out, fmt.Sprint(name, " ", len(dc.Servers)))
	}
	return strings.Join(out, ", ")
}

// One server of each datacenter but the first is given one address, and all servers know all others, by their distance.
func TestOneAddressIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		w := newWorld()
		w.far[[2]string{"dc1", "dc2"}], w.far[[2]string{"dc1", "dc3"}], w.far[[2]string{"dc2", "dc3"}] = 80*time.Millisecond, 5*time.Millisecond, 40*time.Millisecond
		w.add(ctx, &wg, "dc1", 3)
		w.add(ctx, &wg, "dc2", 3, "dc1-1:8300")
		w.add(ctx, &wg, "dc3", 1, "nowhere:8300", "dc2-3:8300")
		time.Sleep(time.Minute)
		for address, want := range map[string]string{
			"dc1-1:8300": "dc3 1, dc2 3", "dc1-3:8300": "dc3 1, dc2 3", "dc2-2:8300": "dc3 1, dc1 3", "dc3-1:8300": "dc1 3, dc2 3",
		} {
			if got := names(w.by[address]); got != want {
				t.Errorf("%s knows %s, want %s", address, got, want)
			}
		}
		if got := w.by["dc1-2:8300"].Datacenters()[1].Distance; got != 80*time.Millisecond {
			t.Errorf("the distance is %v", got)
		}
		// In a quiet minute two servers are asked each second, and all in two rounds of it.
		w.mu.Lock()
		clear(w.asked)
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.asked["dc2-1:8300"] + w.asked["dc2-2:8300"] + w.asked["dc2-3:8300"]; n > 4*2*60+60 {
			t.Errorf("dc2 was asked %d times in a minute by 4 servers", n)
		}
	})
}

// A datacenter that is cut off is known on, with its servers; it is reached again within a few seconds. One that is gone for good is forgotten.
func TestACutAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		w := newWorld()
		w.add(ctx, &wg, "dc1", 1)
		w.add(ctx, &wg, "dc2", 3, "dc1-1:8300")
		d := w.by["dc1-1:8300"]
		time.Sleep(40 * time.Second)
		first, _, ok := d.Pick("dc2")
		if !ok {
			t.Fatal("no server is picked")
		}
		if other, _, ok := d.Pick("dc2", first); !ok || other == first {
			t.Errorf("picked %s, and then %s", first, other)
		}

		// The server that is picked dies: another one is picked.
		address := "dc2-" + first[1:] + ":8300"
		w.set(true, address)
		time.Sleep(5 * time.Second)
		if now, _, ok := d.Pick("dc2"); !ok || now == first {
			t.Errorf("5 s after %s died, %s is picked", first, now)
		}
		w.set(false, address)

		w.set(true, "dc2")
		time.Sleep(10 * time.Second)
		if _, _, ok := d.Pick("dc2"); ok || d.Reached("dc2") || names(d) != "(dc2) 3" {
			t.Errorf("10 s after a cut: %s", names(d))
		}
		w.set(false, "dc2")
		time.Sleep(12 * time.Second)
		if names(d) != "dc2 3" || !d.Reached("dc2") {
			t.Errorf("12 s after its end: %s", names(d))
		}

		w.set(true, "dc2")
		time.Sleep(time.Minute)
		older := func(by time.Duration) {
			d.mu.Lock()
			d.all["dc2"].heard, d.all["dc2"].since = d.all["dc2"].heard.Add(-by), d.all["dc2"].since.Add(-by)
			d.mu.Unlock()
			time.Sleep(time.Minute)
		}
		if older(71 * time.Hour); names(d) != "(dc2) 3" {
			t.Errorf("after 71 h: %s", names(d))
		}
		older(2 * time.Hour)
		if names(d) != "" || d.Knows("dc2") {
			t.Errorf("after 73 h: %s", names(d))
		}
	})
}

// A server that left its datacenter is forgotten, and one that moved is found at its new address.
func TestServersLeaveAndMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		w := newWorld()
		w.add(ctx, &wg, "dc1", 1)
		w.add(ctx, &wg, "dc2", 3, "dc1-1:8300")
		d := w.by["dc1-1:8300"]
		time.Sleep(40 * time.Second)
		w.mu.Lock()
		moved := Server{Name: "s2", Datacenter: "dc2", Address: "dc2-9:8300"}
		w.servers["dc2"] = []Server{w.servers["dc2"][0], moved}
		w.mu.Unlock()
		w.start(ctx, &wg, moved)
		w.set(true, "dc2-2:8300", "dc2-3:8300")
		time.Sleep(time.Minute)
		dc := d.Datacenters()[0]
		if len(dc.Servers) != 2 || dc.Servers[1].Address != moved.Address || !dc.Servers[1].Alive {
			t.Errorf("the servers are %+v", dc.Servers)
		}
	})
}

// Words that are not valid are refused whole, and those of this datacenter name no server of it.
func TestWordsThatAreRefused(t *testing.T) {
	good := Server{Name: "s1", Datacenter: "dc2", Address: "a:1"}
	d := New(Config{Self: Server{Name: "s1", Datacenter: "dc1", Address: "b:1"}, Own: func() []Server { return nil }, Log: slog.New(slog.DiscardHandler)})
	for _, bad := range []Word{
		{}, {From: good, Servers: make([]Server, maxServers+1)},
		{From: good, Servers: []Server{good, {Name: "", Datacenter: "dc3", Address: "a:1"}}},
		{From: good, Servers: []Server{{Name: "x", Datacenter: "DC3", Address: "a:1"}}},
		{From: good, Servers: []Server{{Name: "x", Datacenter: "../x", Address: "a:1"}}},
		{From: good, Servers: []Server{{Name: "x", Datacenter: "dc3", Address: "a"}}},
	} {
		if _, err := d.Hear(bad); err == nil || len(d.Datacenters()) > 0 {
			t.Errorf("%+v is taken: %v", bad, d.Datacenters())
		}
	}
	own := Server{Name: "s2", Datacenter: "dc1", Address: "c:1"}
	if _, err := d.Hear(Word{From: own, Servers: []Server{own}}); err != nil || len(d.Datacenters()) > 0 {
		t.Errorf("a word of this datacenter: %v, %v", err, d.Datacenters())
	}
	var many []Server
	for i := range maxServers {
		many = append(many, Server{Name: "s", Datacenter: fmt.Sprint("x", i), Address: "a:1"})
	}
	if _, err := d.Hear(Word{From: good, Servers: many}); err != nil || len(d.Datacenters()) != maxDatacenters {
		t.Errorf("%d datacenters are known, %v", len(d.Datacenters()), err)
	}
}

// Coordinates of servers estimate the round trips between them, also between datacenters that this server does not ask.
func TestCoordinatesOfServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		w := newWorld()
		w.far[[2]string{"dc1", "dc1"}], w.far[[2]string{"dc2", "dc2"}], w.far[[2]string{"dc3", "dc3"}] = time.Millisecond, time.Millisecond, time.Millisecond
		w.far[[2]string{"dc1", "dc2"}], w.far[[2]string{"dc1", "dc3"}], w.far[[2]string{"dc2", "dc3"}] = 20*time.Millisecond, 80*time.Millisecond, 70*time.Millisecond
		w.add(ctx, &wg, "dc1", 2)
		w.add(ctx, &wg, "dc2", 2, "dc1-1:8300")
		w.add(ctx, &wg, "dc3", 1, "dc1-1:8300")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		at := w.by["dc1-2:8300"].Coordinates()
		for dc, servers := range map[string]int{"dc1": 2, "dc2": 2, "dc3": 1} {
			if len(at[dc]) != servers {
				t.Errorf("%s has %d coordinates, want %d", dc, len(at[dc]), servers)
			}
		}
		for pair, want := range w.far {
			for a, from := range at[pair[0]] {
				for b, to := range at[pair[1]] {
					if got := from.DistanceTo(to); (a != b || pair[0] != pair[1]) && (got < want*2/3-5*time.Millisecond || got > want*4/3+5*time.Millisecond) {
						t.Errorf("from %s.%s to %s.%s: %v, want %v", a, pair[0], b, pair[1], got, want)
					}
				}
			}
		}

		// A server is forgotten when it does not answer, and comes back when it does.
		d := w.by["dc1-2:8300"]
		if !d.Forget("dc3", "s1") || !d.Knows("dc3") {
			t.Error("a server that answers is forgotten")
		}
		w.set(true, "dc3")
		time.Sleep(time.Minute)
		if !d.Forget("dc3", "s1") || d.Knows("dc3") || d.Forget("dc3", "s1") || d.Forget("dc2", "s9") {
			t.Error("a server that does not answer is not forgotten")
		}
		w.set(false, "dc3")
		time.Sleep(time.Minute)
		if !d.Reached("dc3") {
			t.Error("the server does not come back")
		}
	})
}

// A server that starts again finds the others without an address of Join.
func TestKeptServersAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		w := newWorld()
		w.add(ctx, &wg, "dc2", 2)
		w.add(ctx, &wg, "dc1", 1, "dc2-1:8300")
		time.Sleep(time.Minute)
		kept := w.by["dc1-1:8300"].Known()
		if len(kept) != 2 || kept[0].Name != "s1" || kept[1].Datacenter != "dc2" {
			t.Fatalf("kept are %+v", kept)
		}
		self := Server{Name: "s1", Datacenter: "dc1", Address: "dc1-1:8300"}
		d := New(Config{
			Self: self, Kept: append(kept, Server{Name: "bad"}, self), Own: func() []Server { return nil }, Log: slog.New(slog.DiscardHandler),
			Ask: func(ctx context.Context, address string, word Word) (Word, error) {
				return w.ask(ctx, self, address, word)
			},
		})
		if !d.Knows("dc2") || d.Reached("dc2") || len(d.Datacenters()) != 1 {
			t.Errorf("at first it knows %+v", d.Datacenters())
		}
		wg.Go(func() { d.Run(ctx) })
		time.Sleep(5 * time.Second)
		if !d.Reached("dc2") {
			t.Error("the datacenter is not reached")
		}
	})
}

func FuzzHear(f *testing.F) {
	f.Add("s1", "dc2", "a:1", "s2", "dc3", "b:2")
	f.Fuzz(func(t *testing.T, n1, dc1, a1, n2, dc2, a2 string) {
		d := New(Config{Self: Server{Name: "s1", Datacenter: "dc1", Address: "b:1"}, Own: func() []Server { return nil }, Log: slog.New(slog.DiscardHandler)})
		d.Hear(Word{From: Server{Name: n1, Datacenter: dc1, Address: a1}, Servers: []Server{{Name: n2, Datacenter: dc2, Address: a2}, {Name: n1, Datacenter: dc1, Address: a1}}})
		for _, dc := range d.Datacenters() {
			if !skerry.ValidDatacenter(dc.Name) || dc.Name == "dc1" || len(dc.Servers) == 0 {
				t.Errorf("%+v is known", dc)
			}
			d.Pick(dc.Name)
		}
	})
}
