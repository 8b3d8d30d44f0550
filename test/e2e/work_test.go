package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// work is clients of servers that write and look up all the time: none may fail.
type work struct {
	t            *testing.T
	stop         atomic.Bool
	all          sync.WaitGroup
	made, looked atomic.Int64
}

// workAt starts work at each of the servers, with look-ups of a service that always is there.
func workAt(t *testing.T, service string, servers ...*agent) *work {
	w := &work{t: t}
	for i, a := range servers {
		w.all.Go(func() { w.write(a, fmt.Sprint("count/", i)) })
		w.all.Go(func() { w.look(a, service) })
	}
	return w
}

// write counts by compare-and-swap: a write that is made twice shows.
func (w *work) write(a *agent, key string) {
	c := counter{client: a.client(), key: key}
	for !w.stop.Load() {
		began := time.Now()
		if err := c.add(); err != nil {
			took := time.Since(began)
			if took < gaveUp {
				w.t.Errorf("write %d at %s after %v: %v", c.n+1, a.http, took, err)
				return
			}
			w.t.Logf("the machine is busy: write %d at %s was given up after %v: %v", c.n+1, a.http, took, err)
			continue
		}
		w.made.Add(1)
	}
}

func (w *work) look(a *agent, service string) {
	client := a.client()
	for !w.stop.Load() {
		if entries, _, err := client.Health().Service(service, "", false, nil); err != nil || len(entries) == 0 {
			w.t.Errorf("a look-up at %s: %v, %v", a.http, entries, err)
			return
		}
		w.looked.Add(1)
	}
}

// goesOn waits until some more writes are made.
func (w *work) goesOn() {
	w.t.Helper()
	want := w.made.Load() + 20
	await(w.t, "writes go on", func() error { return atLeast(&w.made, want) })
}

func atLeast(n *atomic.Int64, want int64) error {
	if got := n.Load(); got < want {
		return fmt.Errorf("%d of %d", got, want)
	}
	return nil
}

func (w *work) end() {
	w.stop.Store(true)
	w.all.Wait()
	w.t.Logf("%d writes and %d look-ups", w.made.Load(), w.looked.Load())
}

// gaveUp is how long the store tries before it refuses a write (7 s): an error after less is
// a write that failed.
const gaveUp = 6 * time.Second

// counter adds one by compare-and-swap, again and again.
type counter struct {
	client *api.Client
	key    string
	n      int64
	unsure bool // the last write may have been made
}

func (c *counter) add() error {
	pair, _, err := c.client.KV().Get(c.key, &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		return err
	}
	p := &api.KVPair{Key: c.key}
	if pair != nil {
		p.ModifyIndex = pair.ModifyIndex
		at, err := strconv.ParseInt(string(pair.Value), 10, 64)
		if c.unsure && at == c.n+1 {
			c.n = at
		}
		if err != nil || at != c.n {
			return fmt.Errorf("after %d writes the counter is %q", c.n, pair.Value)
		}
	}
	c.unsure = true
	p.Value = []byte(strconv.FormatInt(c.n+1, 10))
	ok, _, err := c.client.KV().CAS(p, nil)
	if err == nil && !ok {
		err = errors.New("somebody else wrote the counter")
	}
	if err == nil {
		c.n, c.unsure = c.n+1, false
	}
	return err
}
