package catalogtest

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// concurrent lets writers, readers and watchers at the catalog at once, in real
// time: no reader sees half a change, and no watcher misses the last one.
func concurrent(t *testing.T, open Open) {
	c := open(t, catalog.Config{Coalesce: 100 * time.Microsecond, OutputEvery: 100 * time.Microsecond})
	const writers, changes = 4, 300
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() { write(t, c, n, changes) })
		all.Go(func() { follow(t, c, n, changes) })
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() { readAll(c, done) })
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				c.Tick()
				c.Withdraw("flapping", skerry.Version{Epoch: uint64(time.Now().UnixNano())})
				_, _ = c.Announce(skerry.Announcement{Owner: "flapping", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: uint64(time.Now().UnixNano())},
					Set: &skerry.Set{Node: node("n0"), Instances: []*skerry.Instance{inst("flap", "flapping")}}})
			}
		}
	})
	all.Wait()
	close(done)
	readers.Wait()
}

// write announces versions 1 … changes; each has its number in both instances' port.
func write(t *testing.T, c Catalog, n, changes int) {
	id := skerry.OwnerID(fmt.Sprint("w", n))
	service := fmt.Sprint("s", n)
	for i := 1; i <= changes; i++ {
		x, y := inst("x"+service, service, strconv.Itoa(i)), inst("y"+service, service, strconv.Itoa(i))
		x.Port, y.Port = i, i
		check := chk("c"+service, "x"+service, skerry.Passing)
		check.Output = strconv.Itoa(i)
		a := skerry.Announcement{Owner: id, Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: uint64(i)}}
		if i%3 == 0 {
			a.Base, a.Delta = skerry.Version{Epoch: 1, Seq: uint64(i - 1)}, &skerry.Delta{Instances: []*skerry.Instance{x, y}}
		} else {
			a.Set = &skerry.Set{Node: node("n0"), Instances: []*skerry.Instance{x, y}, Checks: []*skerry.Check{check}}
		}
		if out, err := c.Announce(a); err != nil || out != skerry.Applied {
			t.Errorf("change %d of %s: %v %v", i, id, out, err)
		}
	}
}

// follow waits as a blocking query does, until it has seen the last change.
func follow(t *testing.T, c Catalog, n, changes int) {
	service := fmt.Sprint("s", n)
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	var seen uint64
	for {
		index, changed := c.Watch(skerry.Topic{Kind: skerry.TopicService, Name: service})
		if index > seen {
			v := c.Service(service)
			if v.Index < index {
				t.Errorf("the view of %s has index %d, below %d of its topic", service, v.Index, index)
			}
			if len(v.Entries) == 2 && v.Entries[0].Instance.Port != v.Entries[1].Instance.Port {
				t.Errorf("half a change of %s is seen", service)
			}
			if len(v.Entries) == 2 && v.Entries[0].Instance.Port == changes {
				return
			}
			seen = index
			continue
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Errorf("the watcher of %s missed a change: it waits at index %d", service, seen)
			return
		}
	}
}

func readAll(c Catalog, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		for _, name := range c.Services() {
			for _, e := range c.Service(name).Entries {
				_ = fmt.Sprint(e.Instance.Stamp, e.Node.Stamp, e.Address())
				for _, k := range e.Checks {
					_ = k.Stamp
				}
			}
		}
		for _, v := range c.Nodes() {
			_ = v.InstanceChecks("")
		}
		c.Lookup("192.0.2.1")
		c.Known("w0")
		c.Foreign(c.Index())
	}
}
