package agent

import (
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// fullDisk lets no file grow until the returned function is called: the limit of
// the size of files stands for a full disk.
func fullDisk(t *testing.T) (makeRoom func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(size uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	set(1)
	makeRoom = func() { set(was.Cur) }
	t.Cleanup(makeRoom)
	return makeRoom
}

func TestAFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		r.beat("service:web-1", skerry.Passing, "")
		makeRoom := fullDisk(t)
		i := web()
		i.ID = "web-2"
		late := skerry.Registration{Instance: &i, Checks: []skerry.CheckDefinition{ttlCheck(time.Minute)}}
		r.fails(skerry.Unavailable, r.RegisterService(r.ctx(), late))
		i2 := i
		i2.ID = "web-3"
		r.fails(skerry.Unavailable, r.RegisterService(r.ctx(), skerry.Registration{Instance: &i2}))
		if _, own, _ := r.Instance("web-3"); own != nil {
			t.Error("a refused registration is there")
		}
		r.fails(skerry.Unavailable, r.DeregisterService(r.ctx(), "web-1"))
		r.fails(skerry.Unavailable, r.SetMaintenance(r.ctx(), "", true, ""))
		// Who beats is alive, and is seen to be, whatever the disk does.
		r.beat("service:web-1", skerry.Passing, "")
		r.fails(skerry.Unavailable, r.UpdateTTL(r.ctx(), "service:web-1", skerry.Warning, "slow"))
		r.is("service:web-1", "warning slow")
		r.fails(skerry.Unavailable, r.UpdateTTL(r.ctx(), "service:web-1", skerry.Warning, "slow"))
		makeRoom()
		r.ok(r.ledger.Compact())
		r.beat("service:web-1", skerry.Warning, "slow")
		r.ok(r.RegisterService(r.ctx(), late)) // it is there already, and now on disk
		r.crash(0)
		r.has("web-1 service:web-1; web-2 service:web-2")
		r.is("service:web-1", "warning slow")
	})
}

// A state that turned after the snapshot that mended the journal was taken is
// not in it: a beat must not be acknowledged before it is written again.
func TestAStateThatMissedTheSnapshotIsWrittenAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.register(web(), ttlCheck(time.Minute))
		cs := r.checks["service:web-1"]
		makeRoom := fullDisk(t)
		r.fails(skerry.Unavailable, r.UpdateTTL(r.ctx(), "service:web-1", skerry.Passing, ""))
		failed := cs.batch
		makeRoom()
		r.ok(r.ledger.Compact())
		// As if the turn had come after the snapshot:
		r.mu.Lock()
		c := *cs.check
		c.Status, cs.check, cs.batch = skerry.Warning, &c, failed
		r.tallyCheck(cs)
		r.mu.Unlock()
		r.ok(r.settle(r.ctx(), cs, failed))
		dir := r.copyDir()
		r.stop()
		r.dir = dir
		r.start()
		r.is("service:web-1", "warning ")
	})
}
