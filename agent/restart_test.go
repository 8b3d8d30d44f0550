package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

func TestRestartKeepsEverything(t *testing.T) {
	for name, again := range map[string]func(*rig, time.Duration){"stopped": (*rig).restart, "killed": (*rig).crash} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				i := web()
				i.Tags, i.Meta, i.EnableTagOverride = []string{"a", "b"}, map[string]string{"k": "v"}, true
				r.register(i, ttlCheck(time.Minute), httpCheck("http://a"))
				r.register(skerry.Instance{ID: "gone", Service: "web"}, ttlCheck(time.Minute))
				r.ok(r.DeregisterService(r.ctx(), "gone"))
				r.ok(r.RegisterCheck(r.ctx(), skerry.CheckDefinition{Name: "mem", Notes: "of the host", TTL: time.Minute}))
				r.beat("service:web-1:1", skerry.Warning, "slow")
				r.beat("mem", skerry.Passing, "fine")
				synctest.Wait()
				instances, checks := describe(r)
				epoch := r.version.Epoch
				again(r, time.Hour)
				nowInstances, nowChecks := describe(r)
				if instances != nowInstances || checks != nowChecks {
					t.Errorf("was\n%s\n%s\nis\n%s\n%s", instances, checks, nowInstances, nowChecks)
				}
				if r.version.Epoch <= epoch {
					t.Errorf("the epoch was %d and is %d", epoch, r.version.Epoch)
				}
				synctest.Wait()
				for _, told := range r.told.all() {
					if strings.HasSuffix(told, "=critical") {
						t.Errorf("the catalog was told %v: a flap", r.told.all())
					}
				}
			})
		})
	}
}

func describe(r *rig) (instances, checks string) {
	for _, i := range r.Instances() {
		bare := *i
		bare.Stamp = skerry.Stamp{}
		instances += fmt.Sprintf("%+v\n", bare)
	}
	for _, c := range r.Checks() {
		bare := *c
		bare.Stamp, bare.Since = skerry.Stamp{}, c.Since.UTC().Round(0)
		checks += fmt.Sprintf("%+v\n", bare)
	}
	return instances, checks
}

func TestTheEpochGrowsAlsoWhenTheClockWentBack(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	r.mu.Lock()
	r.version.Epoch += 1 << 40
	ahead := r.version.Epoch
	r.mu.Unlock()
	r.ok(r.ledger.Compact())
	r.restart(0)
	if r.version.Epoch != ahead+1 {
		t.Errorf("the epoch is %d after %d", r.version.Epoch, ahead)
	}
}

func TestTimeLeftOfTTLChecks(t *testing.T) {
	for name, again := range map[string]func(*rig, time.Duration){"stopped": (*rig).restart, "killed": (*rig).crash} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.register(skerry.Instance{ID: "a", Service: "web"}, ttlCheck(time.Minute))
				r.register(skerry.Instance{ID: "b", Service: "web"}, ttlCheck(time.Minute))
				r.register(skerry.Instance{ID: "c", Service: "web"}, ttlCheck(time.Minute))
				r.beat("service:a", skerry.Passing, "")
				r.beat("service:c", skerry.Passing, "")
				r.beat("service:c", skerry.Critical, "on purpose")
				pass(40 * time.Second)
				r.beat("service:b", skerry.Passing, "")
				again(r, 10*time.Minute) // a has 20 s left, b a minute
				r.is("service:a", "passing ")
				r.is("service:c", "critical on purpose")
				pass(18 * time.Second)
				r.is("service:a", "passing ")
				r.is("service:c", "critical on purpose")
				pass(4 * time.Second) // a kill is noted to the second
				r.is("service:a", "critical TTL expired")
				r.is("service:c", "critical TTL expired (last output before timeout follows): on purpose")
				r.is("service:b", "passing ")
				again(r, 10*time.Minute) // what had run out stays as it is
				r.is("service:a", "critical TTL expired")
				pass(30 * time.Second)
				r.is("service:b", "passing ")
				pass(12 * time.Second)
				r.is("service:b", "critical TTL expired")
			})
		})
	}
}

func TestAnotherRunOfTheSystemGivesAFullTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		r.beat("service:web-1", skerry.Passing, "")
		pass(50 * time.Second)
		was := bootID()
		boot.Store(was + 2)
		defer boot.Store(was)
		r.dir = func() string { boot.Store(was); defer boot.Store(was + 2); return r.copyDir() }()
		dir := r.dir
		boot.Store(was)
		r.stop()
		boot.Store(was + 2)
		r.dir = dir
		r.start()
		pass(50 * time.Second)
		r.is("service:web-1", "passing ")
	})
}

func TestALostDeadlinesFileGivesAFullTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		r.beat("service:web-1", skerry.Passing, "")
		pass(50 * time.Second)
		r.stop()
		if err := os.WriteFile(filepath.Join(r.dir, deadlinesFile), []byte("no deadlines"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		pass(50 * time.Second)
		r.is("service:web-1", "passing ")
		pass(11 * time.Second)
		r.is("service:web-1", "critical TTL expired")
	})
}

// slots checks that no two checks share a slot, and that none is both used and free.
func (r *rig) slots(want int) {
	r.Helper()
	r.mu.RLock()
	defer r.mu.RUnlock()
	used := map[int32]string{}
	for _, s := range r.deadlines.idle {
		if used[s] != "" {
			r.Errorf("slot %d is free twice", s)
		}
		used[s] = "nobody"
	}
	n := 0
	for id, cs := range r.checks {
		if cs.isTTL() != (cs.slot != noSlot) {
			r.Errorf("check %s of type %s has slot %d", id, cs.check.Type, cs.slot)
		}
		if cs.slot == noSlot {
			continue
		}
		n++
		if used[cs.slot] != "" || cs.slot >= r.deadlines.next {
			r.Errorf("slot %d of %s is also %s's; the next is %d", cs.slot, id, used[cs.slot], r.deadlines.next)
		}
		used[cs.slot] = id
	}
	if n != want || len(used) != int(r.deadlines.next)-1 {
		r.Errorf("%d checks have slots, want %d; %d of %d slots are known", n, want, len(used), r.deadlines.next-1)
	}
}

func TestSlots(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for round := range 3 {
			for i := range 20 {
				id := fmt.Sprint("s", i)
				r.register(skerry.Instance{ID: id, Service: "web"}, ttlCheck(time.Duration(round+1)*time.Minute), httpCheck("http://a"))
				if i%3 == round {
					r.ok(r.DeregisterService(r.ctx(), id))
				}
				if i%5 == round { // becomes another kind, and back
					r.register(skerry.Instance{ID: id, Service: "web"}, skerry.CheckDefinition{ID: "service:" + id + ":1", TCP: "x", Interval: time.Second})
				}
			}
			var want int
			for _, c := range r.Checks() {
				if c.Type == "ttl" {
					want++
				}
			}
			r.slots(want)
			if round == 1 {
				r.ok(r.ledger.Compact())
			}
			r.crash(0)
			r.slots(want)
		}
		fill(r, 5000) // beyond the file's first size
		var own []int32
		r.mu.RLock()
		for _, cs := range r.checks {
			own = append(own, cs.slot)
		}
		r.mu.RUnlock()
		r.beat("service:there-4999", skerry.Passing, "")
		r.crash(time.Minute)
		r.slots(5000)
		var after []int32
		for _, cs := range r.checks {
			after = append(after, cs.slot)
		}
		slices.Sort(own)
		slices.Sort(after)
		if !slices.Equal(own, after) {
			t.Error("slots moved over a restart")
		}
		pass(59 * time.Minute)
		r.is("service:there-4999", "passing ")
		pass(2 * time.Minute)
		r.is("service:there-4999", "critical TTL expired")
	})
}

// A beat that comes late for a check that is gone must not move its successor's deadline.
func TestALateBeatDoesNotTouchAnothersSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(skerry.Instance{ID: "a", Service: "web"}, ttlCheck(time.Hour))
		old := r.checks["service:a"]
		r.ok(r.DeregisterService(r.ctx(), "a"))
		r.register(skerry.Instance{ID: "b", Service: "web"}, ttlCheck(time.Minute))
		now := r.checks["service:b"]
		if now.slot != old.slot {
			t.Fatal("the slot was not used again")
		}
		before := *r.deadlines.word(headWords + int(now.slot) - 1)
		r.noteDeadline(old, time.Now().Add(time.Hour))
		if *r.deadlines.word(headWords + int(now.slot) - 1) != before {
			t.Error("the deadline of another check was moved")
		}
	})
}

func TestTwoAgentsOnOneFolder(t *testing.T) {
	r := open(t, t.TempDir())
	r.register(web())
	second := &rig{TB: fatalless{t}, dir: r.dir, probes: r.probes}
	func() {
		defer func() { recover() }()
		second.start()
		t.Error("two agents run on one folder")
	}()
	r.has("web-1")
}

// fatalless turns a Fatal into a panic that the test can catch.
type fatalless struct{ testing.TB }

func (f fatalless) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func TestNothingIsKeptWithoutFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, "")
		r.register(web(), ttlCheck(time.Minute))
		r.beat("service:web-1", skerry.Passing, "")
		pass(61 * time.Second)
		r.is("service:web-1", "critical TTL expired")
		r.restart(0)
		r.has("")
	})
}
