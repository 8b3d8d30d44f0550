package agent

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// Everything at once: in the end the agent, the catalog and the disk agree.
func TestConcurrentChanges(t *testing.T) {
	r := open(t, t.TempDir())
	ctx := context.Background()
	const workers, rounds = 6, 60
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { churn(r, w, rounds) })
		all.Go(func() {
			for n := range rounds * 4 {
				h := []skerry.Health{skerry.Passing, skerry.Warning, skerry.Critical}[n%3]
				_ = r.UpdateTTL(ctx, fmt.Sprintf("service:w%d-%d:1", w, n%3), h, fmt.Sprint(n))
			}
		})
	}
	all.Go(func() {
		for n := range rounds {
			conf := []skerry.Registration{{Instance: &skerry.Instance{ID: "conf", Service: "conf", Port: n % 3}, Checks: []skerry.CheckDefinition{httpCheck("http://conf")}}}
			r.ok(r.Configure(r.ctx(), conf, nil))
			r.probes.set("http://conf", []skerry.Health{skerry.Passing, skerry.Critical}[n%2], fmt.Sprint(n))
		}
	})
	done := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				r.ok(r.ledger.Compact())
			}
		}
	})
	background.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				for _, i := range r.Instances() {
					_, own, _ := r.Instance(i.ID)
					_ = fmt.Sprint(own)
				}
				_ = len(r.Checks())
				r.Changed()
			}
		}
	})
	all.Wait()
	close(done)
	background.Wait()
	r.agree(t)
	instances := r.ids()
	r.crash(0)
	r.agree(t)
	if got := r.ids(); got != instances {
		t.Errorf("registered were\n%s\nand are\n%s", instances, got)
	}
}

func churn(r *rig, w, rounds int) {
	ctx := context.Background()
	for n := range rounds {
		id := fmt.Sprintf("w%d-%d", w, n%3)
		switch n % 5 {
		case 3:
			_ = r.DeregisterService(ctx, id)
		case 4:
			_ = r.SetMaintenance(ctx, id, n%2 == 0, "")
			_ = r.RegisterCheck(ctx, skerry.CheckDefinition{ID: "extra-" + id, Name: "extra", ServiceID: id, TTL: time.Hour})
		default:
			i := skerry.Instance{ID: id, Service: "web", Port: n}
			r.ok(r.RegisterService(ctx, skerry.Registration{Instance: &i, Checks: []skerry.CheckDefinition{ttlCheck(time.Hour), httpCheck("http://" + id)}, ReplaceChecks: n%2 == 0}))
		}
	}
}

// agree checks that the runner, the catalog and the agent say the same.
func (r *rig) agree(t *testing.T) {
	t.Helper()
	want := map[string]string{}
	r.mu.RLock()
	ttls := 0
	for id, cs := range r.checks {
		want[id] = cs.check.ServiceID
		if cs.isTTL() {
			ttls++
		}
	}
	r.mu.RUnlock()
	r.slots(ttls)
	v := r.table.Node("n")
	for _, c := range v.Checks {
		if service, ok := want[c.ID]; !ok || service != c.ServiceID {
			t.Errorf("the catalog has check %s of %q, the agent %q, %v", c.ID, c.ServiceID, service, ok)
		}
		delete(want, c.ID)
	}
	if len(want) > 0 {
		t.Errorf("the catalog lacks %v", want)
	}
	if len(v.Instances) != len(r.Instances())+1 {
		t.Errorf("the catalog has %d instances, the agent %d and itself", len(v.Instances), len(r.Instances()))
	}
	for _, c := range r.Checks() {
		if c.Type == "ttl" { // what the runner believes is what is shown
			r.beat(c.ID, skerry.Warning, "agreed")
			r.is(c.ID, "warning agreed")
		}
	}
}
