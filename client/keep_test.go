package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var errDown = errors.New("connection refused")

func named(ids string) (is []Instance) {
	for _, id := range strings.Fields(ids) {
		is = append(is, Instance{ID: id, Service: "s", Address: "10.0.0." + id + ":80"})
	}
	return is
}

// A script of a source's updates, and what the client's list is after each. "+30s"
// lets time go by, "down" is a failure to answer.
func TestKeeper(t *testing.T) {
	type step struct {
		at   string // time that goes by before it
		u    *Update
		want string // the list; held ones in parentheses
	}
	up := func(revision uint64, ids string) *Update { return &Update{Revision: revision, Instances: named(ids)} }
	left := func(revision uint64, ids, left string) *Update {
		return &Update{Revision: revision, Instances: named(ids), Left: strings.Fields(left)}
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"instances come and go", []step{
			{"", up(1, "1 2 3 4"), "1 2 3 4"},
			{"1m", up(2, "1 2 3 4 5"), "1 2 3 4 5"},
			{"1m", up(3, "1 2 3 4"), "1 2 3 4"},
		}},
		{"a failure is no news", []step{
			{"", up(1, "1 2"), "1 2"},
			{"1m", nil, "1 2"},
			{"10h", nil, "1 2"},
		}},
		{"empty without proof is held, then believed", []step{
			{"", up(1, "1 2"), "1 2"},
			{"1m", up(2, ""), "(1) (2)"},
			{"29s", up(2, ""), "(1) (2)"},
			{"2s", up(2, ""), ""},
		}},
		{"the hold begins anew when the source comes back", []step{
			{"", up(1, "1 2"), "1 2"},
			{"1m", up(2, ""), "(1) (2)"},
			{"20s", nil, "(1) (2)"},
			{"1h", up(2, ""), "(1) (2)"},
			{"31s", up(2, ""), ""},
		}},
		{"who withdrew is gone at once", []step{
			{"", up(1, "1 2"), "1 2"},
			{"1s", left(2, "2", "1"), "2"},
			{"1s", left(3, "", "2"), ""},
		}},
		{"a source that vouches is believed", []step{
			{"", up(1, "1 2 3"), "1 2 3"},
			{"1s", &Update{Revision: 2, Proven: true}, ""},
		}},
		{"many that go one by one are many", []step{
			{"", up(1, "1 2 3 4"), "1 2 3 4"},
			{"1s", up(2, "2 3 4"), "2 3 4"},
			{"1s", up(3, "3 4"), "3 4"},
			{"1s", up(4, "4"), "(3) 4"},
			{"31s", up(4, "4"), "4"},
		}},
		{"a source that is not settled takes nothing away", []step{
			{"", up(1, "1 2 3"), "1 2 3"},
			{"1s", &Update{Revision: 2, Instances: named("2 3"), Unsettled: true}, "(1) 2 3"},
			{"1h", &Update{Revision: 2, Instances: named("2 3"), Unsettled: true}, "(1) 2 3"},
			{"1s", up(3, "2 3"), "2 3"},
		}},
		{"a registry that lost its data empties nobody", []step{
			{"", up(100, "1 2 3 4"), "1 2 3 4"},
			{"1m", nil, "1 2 3 4"},
			{"1m", up(1, ""), "(1) (2) (3) (4)"},
			{"1h", up(1, ""), "(1) (2) (3) (4)"},
			{"1s", up(2, "1"), "1 (2) (3) (4)"},
			{"1s", up(3, "1 2 3"), "1 2 3 (4)"},
			{"31s", up(3, "1 2 3"), "1 2 3"},
		}},
		{"another cluster's data is not believed either", []step{
			{"", &Update{Epoch: "a", Revision: 5, Instances: named("1 2")}, "1 2"},
			{"1s", &Update{Epoch: "b", Revision: 9}, "(1) (2)"},
			{"23h", &Update{Epoch: "b", Revision: 9}, "(1) (2)"},
			{"1h", &Update{Epoch: "b", Revision: 9}, ""},
		}},
		{"the same address under another name is the same", []step{
			{"", up(1, "1 2"), "1 2"},
			{"1s", &Update{Revision: 2, Instances: []Instance{{ID: "x", Service: "s", Address: "10.0.0.1:80"}, {ID: "y", Service: "s", Address: "10.0.0.2:80"}}}, "x y"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keeper{hold: 30 * time.Second, maxAge: 24 * time.Hour, shrink: .5, freshness: Cold}
			now := time.Unix(0, 0)
			for n, s := range tc.steps {
				d, _ := time.ParseDuration(s.at)
				now = now.Add(d)
				if s.u == nil {
					k.fail(errDown)
				} else {
					k.take(now, s.u)
				}
				k.tick(now)
				var got []string
				for _, i := range k.kept {
					if i.heldSince.IsZero() {
						got = append(got, i.ID)
					} else {
						got = append(got, "("+i.ID+")")
					}
				}
				if list := strings.Join(got, " "); list != s.want {
					t.Fatalf("step %d: the list is %q, want %q", n, list, s.want)
				}
			}
		})
	}
}

// Whatever a source says, the list never goes empty without proof while less than the
// hold has passed, and has all that the source names.
func FuzzKeeper(f *testing.F) {
	f.Add([]byte{3, 0, 5, 1, 200, 7})
	f.Fuzz(func(t *testing.T, script []byte) {
		k := keeper{hold: 30 * time.Second, maxAge: time.Hour, shrink: .5, freshness: Cold}
		now := time.Unix(0, 0)
		for n, b := range script {
			now = now.Add(time.Second)
			before := slices.Clone(k.kept)
			u := &Update{Revision: uint64(b >> 4)}
			for i := range 4 {
				if b>>i&1 == 1 {
					u.Instances = append(u.Instances, named(fmt.Sprint(i))...)
				}
			}
			if b == 0xff {
				k.fail(errDown)
				if len(k.kept) != len(before) {
					t.Fatal("a failure changed the list")
				}
				continue
			}
			k.take(now, u)
			for _, i := range u.Instances {
				if !slices.ContainsFunc(k.kept, func(o kept) bool { return o.ID == i.ID && o.heldSince.IsZero() }) {
					t.Fatalf("step %d: %s is named and not in the list", n, i.ID)
				}
			}
			if len(before) > 0 && len(k.kept) == 0 && len(script) <= 30 {
				t.Fatalf("step %d: the list went empty", n)
			}
		}
	})
}
