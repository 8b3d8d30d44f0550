package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
)

// writers write at an agent until they are told to end, and note each write that failed.
type writers struct {
	t       *testing.T
	a       *agent
	dc      string // where they write; empty: in the agent's datacenter
	stop    chan struct{}
	running sync.WaitGroup
	made    atomic.Int64 // writes that were answered
}

// start runs a writer: write is called again and again, with the number of the call.
func (w *writers) start(write func(c *api.Client, n int) error) {
	c, err := api.NewClient(&api.Config{Address: w.a.http, Datacenter: w.dc})
	if err != nil {
		w.t.Fatal(err)
	}
	w.running.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-w.stop:
				return
			default:
			}
			if err := write(c, n); err != nil {
				w.t.Errorf("write %d: %v", n, err)
				return
			}
			w.made.Add(1)
		}
	})
}

// work waits until some writes are made: on a busy machine there are few.
func (w *writers) work() {
	w.t.Helper()
	want := w.made.Load() + 40
	await(w.t, "writes are made", func() error {
		if made := w.made.Load(); made < want && !w.t.Failed() {
			return fmt.Errorf("%d of %d", made, want)
		}
		return nil
	})
}

// adds is a writer that adds 1 to a key, by compare-and-set.
func adds(key string, added *atomic.Int64) func(*api.Client, int) error {
	return func(c *api.Client, _ int) error {
		was, _, err := c.KV().Get(key, nil)
		if err != nil {
			return nil // a read failed: this is about writes
		}
		next := &api.KVPair{Key: key}
		value := 0
		if was != nil {
			next.ModifyIndex = was.ModifyIndex
			value, _ = strconv.Atoi(string(was.Value))
		}
		next.Value = []byte(strconv.Itoa(value + 1))
		made, _, err := c.KV().CAS(next, nil)
		if made {
			added.Add(1)
		}
		return err
	}
}

// creates is a writer that makes a new key in a transaction. A second time would be refused.
func creates(c *api.Client, n int) error {
	key := fmt.Sprint("made/", n)
	ok, answer, _, err := c.Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key}},
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte("x")}},
	}, nil)
	if err == nil && (!ok || len(answer.Results) != 1 || answer.Results[0].KV.CreateIndex == 0) {
		err = fmt.Errorf("the transaction that makes %s: %v %+v", key, ok, answer)
	}
	return err
}

// locks is a writer that makes a session and locks a key.
func locks(sessions *atomic.Int64) func(*api.Client, int) error {
	return func(c *api.Client, n int) error {
		id, _, err := c.Session().Create(&api.SessionEntry{Name: "once", TTL: "3600s"}, nil)
		if err != nil {
			return err
		}
		sessions.Add(1)
		key := fmt.Sprint("lock/", n)
		taken, _, err := c.KV().Acquire(&api.KVPair{Key: key, Session: id, Value: []byte("x")}, nil)
		if err == nil && !taken {
			err = fmt.Errorf("%s, which nobody holds, could not be locked", key)
		}
		return err
	}
}

// overwrites is a writer that puts a number that grows, without a condition. An attempt of a server that
// hung must not put an earlier one again.
func overwrites(c *api.Client, n int) error {
	was, _, err := c.KV().Get("last", nil)
	if err == nil && n > 0 && (was == nil || string(was.Value) != strconv.Itoa(n-1)) {
		return fmt.Errorf("the key has %+v, want %d", was, n-1)
	}
	_, err = c.KV().Put(&api.KVPair{Key: "last", Value: []byte(strconv.Itoa(n))}, nil)
	return err
}

var repeats = regexp.MustCompile(`(?m)^skerry_forward_repeated_total (\d+)`)

// moves waits until an agent is attached to another server than one.
func (a *agent) moves(from int) {
	a.t.Helper()
	await(a.t, "the agent moves", func() error {
		if _, now := a.homes(); now == from {
			return fmt.Errorf("it is attached to s%d", now+1)
		}
		return nil
	})
	a.attached()
}

// Writes at an agent go on while its servers die and hang: none fails, and none is made twice, not
// even by a server that goes on where it was stopped.
func TestWritesAtAnAgentAreMadeOnce(t *testing.T) {
	t.Parallel()
	servers, at := servers(t, 3)
	a := joined(t, "web1", at)
	w := &writers{t: t, a: a, stop: make(chan struct{})}
	counts := make([]atomic.Int64, 3)
	for i := range counts {
		w.start(adds(fmt.Sprint("count/", i), &counts[i]))
	}
	var sessions atomic.Int64
	w.start(creates)
	w.start(overwrites)
	w.start(locks(&sessions))
	work := w.work
	for range 2 {
		work()
		_, home := a.homes()
		servers[home].kill()
		a.moves(home)
		work()
		servers[home].run()
		servers[home].leads()

		_, home = a.homes()
		servers[home].signal(syscall.SIGSTOP)
		a.moves(home)
		work()
		servers[home].signal(syscall.SIGCONT)
	}
	work()
	close(w.stop)
	w.running.Wait()
	c := a.client()
	counted(t, c, counts)
	if all, _, err := c.Session().List(nil); err != nil || len(all) != int(sessions.Load()) {
		t.Errorf("%d sessions of %d that were made: %v", len(all), sessions.Load(), err)
	}
	if r := a.request("GET", "/metrics", ""); r.status != http.StatusOK {
		t.Errorf("the metrics: %d", r.status)
	} else if repeated := repeats.FindStringSubmatch(r.body); repeated == nil || repeated[1] == "0" {
		t.Error("no request was repeated: nothing was tested")
	} else {
		t.Logf("%d writes, %s repeated", w.made.Load(), repeated[1])
	}
}

// counted compares the counters with the successes of their writers.
func counted(t *testing.T, c *api.Client, counts []atomic.Int64) {
	t.Helper()
	for i := range counts {
		e, _, err := c.KV().Get(fmt.Sprint("count/", i), nil)
		if want := strconv.FormatInt(counts[i].Load(), 10); err != nil || e == nil || string(e.Value) != want {
			t.Errorf("the counter %d is %+v after %s successes: %v", i, e, want, err)
		}
	}
}

// The same for writes in another datacenter, whose servers die one after the other.
func TestWritesInAnotherDatacenterAreMadeOnce(t *testing.T) {
	t.Parallel()
	two, at := datacenter(t, "dc2", 3, nil, nil)
	one, _ := datacenter(t, "dc1", 1, at[:1], nil)
	one[0].findsIn("dc2", "consul", "consul", "consul", "consul")
	w := &writers{t: t, a: one[0], dc: "dc2", stop: make(chan struct{})}
	counts := make([]atomic.Int64, 3)
	for i := range counts {
		w.start(adds(fmt.Sprint("count/", i), &counts[i]))
	}
	w.start(creates)
	w.start(overwrites)
	for range 2 {
		for _, s := range two {
			w.work()
			s.kill()
			w.work()
			s.run()
			s.leads()
		}
	}
	w.work()
	close(w.stop)
	w.running.Wait()
	t.Logf("%d writes", w.made.Load())
	counted(t, two[0].client(), counts)
}
