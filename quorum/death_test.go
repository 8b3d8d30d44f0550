package quorum

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A member that cannot write a snapshot ends, and its process does not, while the others' changes
// go on coming to it.
func TestAMemberThatCannotSnapshot(t *testing.T) {
	t.Parallel()
	peers := peersFor(t, 3)
	for i := range peers {
		peers[i].snapshots = 100
	}
	stores := openAll(t, peers...)
	at := leaderOf(t, stores)
	follower := stores[(at+1)%3]
	folder := filepath.Join(follower.member.dir, "member", "snap")
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if err := put(t, stores[at], fmt.Sprint("k/", n), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-follower.died():
		default:
			if n < 10_000 {
				continue
			}
			t.Fatal("it writes snapshots without a folder")
		}
		break
	}
	for n := range 100 {
		if err := put(t, stores[at], fmt.Sprint("after/", n), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(t, follower, "late", nil); err == nil {
		t.Error("a member that died takes a change")
	}
	began := time.Now()
	follower.abandon()
	t.Logf("%v; left behind after %v", follower.member.dead.reason(), time.Since(began))
}
