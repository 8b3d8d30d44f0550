package skerry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skerryhq/skerry"
)

// viewOf makes a view of some of ten instances, from records that are shared and replaced at random.
func viewOf(rnd *rand.Rand, from *skerry.View) *skerry.View {
	was := map[string]*skerry.Entry{}
	if from != nil {
		for _, e := range from.Entries {
			was[e.Instance.ID] = e
		}
	}
	v := &skerry.View{Service: "web"}
	for n := range 10 {
		id := fmt.Sprint("web-", n)
		e := was[id]
		if rnd.IntN(4) == 0 || e == nil && rnd.IntN(2) == 0 {
			if rnd.IntN(3) == 0 {
				continue
			}
			e = &skerry.Entry{
				Node: &skerry.Node{Name: fmt.Sprint("n", n%3)}, Instance: &skerry.Instance{ID: id, Service: "web", Port: rnd.IntN(4)},
				Checks: []*skerry.Check{{ID: "c", Status: skerry.Passing}},
			}
		}
		if e != nil {
			v.Entries = append(v.Entries, e)
		}
	}
	slices.SortFunc(v.Entries, (*skerry.Entry).Compare)
	return v
}

// The change between two views makes the later one of the earlier one, and the digest that is worked out from it is
// that of the whole view.
func TestAChangeLeadsFromOneViewToTheNext(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var from *skerry.View
	for range 2000 {
		to := viewOf(rnd, from)
		c := to.Since(from)
		var got []*skerry.Entry
		if from != nil {
			for _, e := range from.Entries {
				other := func(o *skerry.Entry) bool { return o.Compare(e) == 0 }
				if !slices.ContainsFunc(c.Removed, other) && !slices.ContainsFunc(c.Upserts, other) {
					got = append(got, e)
				}
			}
		}
		got = append(got, c.Upserts...)
		slices.SortFunc(got, (*skerry.Entry).Compare)
		if !slices.Equal(got, to.Entries) {
			t.Fatalf("the change leads to %d entries, not %d", len(got), len(to.Entries))
		}
		fresh := &skerry.View{Service: "web", Entries: to.Entries}
		if to.Digest() != fresh.Digest() {
			t.Fatalf("the digest after a change is %x, that of the view %x", to.Digest(), fresh.Digest())
		}
		if rnd.IntN(10) == 0 {
			to = nil
		}
		from = to
	}
}

// Each record of an entry counts in the digest, and so does the entry that it belongs to.
func TestTheDigestOfAViewCountsEveryRecord(t *testing.T) {
	entry := func(node, id string, port int, s skerry.Health, guarded bool) *skerry.Entry {
		return &skerry.Entry{
			Node: &skerry.Node{Name: node}, Instance: &skerry.Instance{ID: id, Service: "web", Port: port}, Guarded: guarded,
			Checks: []*skerry.Check{{ID: "c", Status: s, Output: fmt.Sprint(rand.Int())}},
		}
	}
	digest := func(es ...*skerry.Entry) uint64 { return (&skerry.View{Entries: es}).Digest() }
	a, b := entry("n1", "a", 1, skerry.Passing, false), entry("n1", "b", 2, skerry.Critical, false)
	same := digest(entry("n1", "b", 2, skerry.Critical, false), entry("n1", "a", 1, skerry.Passing, false))
	if d := digest(a, b); d != same {
		t.Errorf("order or output counts: %x, %x", d, same)
	}
	for name, d := range map[string]uint64{
		"nothing": digest(), "one": digest(a), "node": digest(entry("n2", "a", 1, skerry.Passing, false), b),
		"port": digest(entry("n1", "a", 9, skerry.Passing, false), b), "check": digest(entry("n1", "a", 1, skerry.Warning, false), b),
		"guarded": digest(entry("n1", "a", 1, skerry.Passing, true), b), "checks the other way": digest(entry("n1", "a", 1, skerry.Critical, false), entry("n1", "b", 2, skerry.Passing, false)),
	} {
		if d == same || d == 0 {
			t.Errorf("%s: %x is the digest of another view", name, d)
		}
	}
}
