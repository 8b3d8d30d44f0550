package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// snapshotAgent starts a snapshot agent. It returns its folder.
func snapshotAgent(t *testing.T, at *agent, args ...string) (cmd *exec.Cmd, folder string, output func() string) {
	t.Helper()
	folder = t.TempDir()
	line := append([]string{"snapshot", "agent", "-http-addr=http://" + at.http, "-local-path=" + folder, "-interval=1s", "-retain=2"}, args...)
	cmd, output = sample(t, nil, program.Skerry(t), line...)
	return cmd, folder, output
}

// saved are the snapshots in a folder.
func saved(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.snap"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Of two snapshot agents one saves, and the other goes on when it ends. Each shows how it is by a check.
func TestSnapshotAgents(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	a.leads()
	first, firstFolder, says1 := snapshotAgent(t, a)
	says(t, says1, "old snapshot removed")
	if n := len(saved(t, firstFolder)); n < 2 || n > 3 {
		t.Errorf("%d snapshots are kept", n)
	}
	for _, file := range saved(t, firstFolder) {
		if out, err := exec.Command(program.Skerry(t), "snapshot", "inspect", file).CombinedOutput(); err != nil && !errors.Is(statErr(file), os.ErrNotExist) {
			t.Errorf("%v %s", err, out)
		}
	}
	_, secondFolder, says2 := snapshotAgent(t, a)
	await(t, "both are healthy", func() error {
		if n := len(a.instances("consul-snapshot")); n != 2 {
			return fmt.Errorf("%d instances", n)
		}
		return nil
	})
	if n := len(saved(t, secondFolder)); n != 0 {
		t.Errorf("the second one saved %d", n)
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	says(t, says2, "snapshot saved and verified")
	await(t, "one is left", func() error {
		if n := len(a.instances("consul-snapshot")); n != 1 {
			return fmt.Errorf("%d instances", n)
		}
		return nil
	})

	// Without the folder nothing is saved, and the check is critical.
	if err := os.RemoveAll(secondFolder); err != nil {
		t.Fatal(err)
	}
	await(t, "the check is critical", func() error {
		checks, _, err := a.client().Health().Checks("consul-snapshot", nil)
		if err == nil && (len(checks) != 1 || checks[0].Status != api.HealthCritical) {
			err = fmt.Errorf("%v", checks)
		}
		return err
	})
}

func statErr(file string) error { _, err := os.Stat(file); return err }

const (
	oldRoot = "11111111-2222-3333-4444-555555555555"
	newRoot = "66666666-2222-3333-4444-555555555555"
	oldWeb  = "77777777-2222-3333-4444-555555555555"
)

// controlledServers are three servers with access control, which form a cluster of their own.
func controlledServers(t *testing.T, root string) []*agent {
	t.Helper()
	all, _ := serversWith(t, 3, map[string]any{"acl": map[string]any{"enabled": true, "default_policy": "deny", "tokens": map[string]any{"initial_management": root, "agent": root, "dns": root}}})
	return all
}

// A backup under load is restored into a new cluster: all that was acknowledged before it is there, tokens and a lock work,
// and services of the new cluster are found all the time.
func TestBackupUnderLoadIsRestoredElsewhere(t *testing.T) {
	t.Parallel()
	old := controlledServers(t, oldRoot)
	c := old[1].as(oldRoot)
	decides(t, c)
	external(t, c)
	session := lockHeld(t, c)
	webToken(t, c)

	// Each writer writes its keys one after the other.
	const writers = 3
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var acked [writers]atomic.Int64
	for w := range writers {
		kv := old[w].as(oldRoot).KV()
		work.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				if _, err := kv.Put(&api.KVPair{Key: fmt.Sprintf("load/%d/%06d", w, n), Value: []byte(fmt.Sprint(n))}, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
					return
				}
				acked[w].Store(n)
			}
		})
	}
	await(t, "writes before the backup", func() error {
		for w := range writers {
			if acked[w].Load() < 20 {
				return errors.New("too few")
			}
		}
		return nil
	})
	var before [writers]int64
	for w := range writers {
		before[w] = acked[w].Load()
	}
	folder := t.TempDir()
	if out, err := exec.Command(program.Skerry(t), "snapshot", "agent", "-interval=0", "-local-path="+folder, "-http-addr=http://"+old[2].http, "-token="+oldRoot).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	stop()
	work.Wait()
	for _, a := range old {
		a.kill()
	}

	fresh := controlledServers(t, newRoot)
	decides(t, fresh[0].as(newRoot))
	if err := fresh[0].as(newRoot).Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "own-1", Name: "own", Port: 80}); err != nil {
		t.Fatal(err)
	}
	for _, a := range fresh {
		a.shows("own", 1, newRoot)
	}
	watched := watchOwn(t, fresh)
	if out, err := exec.Command(program.Skerry(t), "snapshot", "restore", "-http-addr=http://"+fresh[2].http, "-token="+newRoot, saved(t, folder)[0]).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, a := range fresh {
		a.shows("bank", 1, oldRoot)
		a.shows("own", 1, oldRoot)
		restored(t, a.as(oldRoot), before[:], session)
	}
	watched()
	web := fresh[1].as(oldWeb).KV()
	if _, err := web.Put(&api.KVPair{Key: "web/a"}, nil); err != nil {
		t.Errorf("the token of web: %v", err)
	}
	if _, err := web.Put(&api.KVPair{Key: "other"}, nil); err == nil {
		t.Error("the token of web may write other keys")
	}
	for _, a := range fresh {
		if _, _, err := a.as(newRoot).KV().Get("load/0/000001", nil); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("the token of the new cluster, which is not in the snapshot: %v", err)
		}
	}
}

// decides waits until a cluster decides on tokens.
func decides(t *testing.T, c *api.Client) {
	t.Helper()
	await(t, "the management token works", func() error {
		_, err := c.KV().Put(&api.KVPair{Key: "ready"}, nil)
		return err
	})
}

func external(t *testing.T, c *api.Client) {
	t.Helper()
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "outside", Address: "10.0.0.9", Service: &api.AgentService{ID: "bank-1", Service: "bank", Port: 443}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// lockHeld takes a lock in a session that has no checks of a node.
func lockHeld(t *testing.T, c *api.Client) (session string) {
	t.Helper()
	session, _, err := c.Session().CreateNoChecks(&api.SessionEntry{Name: "nightly", TTL: "1h", Behavior: api.SessionBehaviorDelete, LockDelay: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if held, _, err := c.KV().Acquire(&api.KVPair{Key: "locks/nightly", Value: []byte("me"), Session: session}, nil); err != nil || !held {
		t.Fatalf("%v %v", held, err)
	}
	return session
}

func webToken(t *testing.T, c *api.Client) {
	t.Helper()
	if _, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: "web", Rules: `key_prefix "web/" { policy = "write" }`}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ACL().TokenCreate(&api.ACLToken{SecretID: oldWeb, Policies: []*api.ACLLink{{Name: "web"}}}, nil); err != nil {
		t.Fatal(err)
	}
}

// shows waits until a server shows so many instances to a token.
func (a *agent) shows(service string, n int, token string) {
	a.t.Helper()
	await(a.t, service, func() error {
		found, _, err := a.as(token).Health().Service(service, "", true, nil)
		if err == nil && len(found) != n {
			err = fmt.Errorf("%d instances", len(found))
		}
		return err
	})
}

// watchOwn looks a service of the new cluster up at all servers, by a token that is in both clusters, until the function is called.
func watchOwn(t *testing.T, all []*agent) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var looks atomic.Int64
	for _, a := range all {
		work.Go(func() {
			for ctx.Err() == nil {
				// The token of each moment: that of the new cluster, then that of the snapshot.
				found := false
				var last error
				for _, token := range []string{newRoot, oldRoot, newRoot} {
					entries, _, err := a.as(token).Health().Service("own", "", true, (&api.QueryOptions{}).WithContext(ctx))
					if last = err; err == nil && len(entries) == 1 {
						found = true
						break
					}
				}
				if ctx.Err() == nil && !found {
					t.Errorf("%s does not show the service: %v", a.http, last)
					return
				}
				looks.Add(1)
			}
		})
	}
	return func() {
		stop()
		work.Wait()
		if looks.Load() < 10 {
			t.Errorf("%d look-ups only", looks.Load())
		}
	}
}

// restored compares a server with the old cluster.
func restored(t *testing.T, c *api.Client, before []int64, session string) {
	t.Helper()
	for w, least := range before {
		pairs, _, err := c.KV().List(fmt.Sprintf("load/%d/", w), nil)
		if err != nil || int64(len(pairs)) < least {
			t.Fatalf("writer %d: %d keys, %v, and %d were acknowledged before", w, len(pairs), err, least)
		}
		for i, p := range pairs { // one moment: no key is missing before another
			if want := fmt.Sprint(i + 1); string(p.Value) != want {
				t.Fatalf("writer %d: %s is %q, want %q", w, p.Key, p.Value, want)
			}
		}
	}
	held, _, err := c.KV().Get("locks/nightly", nil)
	if err != nil || held == nil || held.Session != session {
		t.Errorf("the lock: %v, %v", held, err)
	}
	if s, _, err := c.Session().Info(session, nil); err != nil || s == nil || s.Behavior != api.SessionBehaviorDelete || s.TTL != "1h0m0s" && s.TTL != "1h" {
		t.Errorf("the session: %+v, %v", s, err)
	}
}
