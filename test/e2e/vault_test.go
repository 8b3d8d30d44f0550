package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// storage uses the API as Vault's storage and high availability do: entries below
// a prefix, changed in transactions and listed a folder at a time; one active
// instance, found by its lock, that tells in the lock where it is.
type storage struct {
	t    *testing.T
	name string
	c    *api.Client
}

const vault = "vault/"

// commit puts and deletes as one, guarded by nothing: who is active may write.
func (b *storage) commit(puts map[string]string, deletes ...string) {
	b.t.Helper()
	var ops api.KVTxnOps
	for k, v := range puts {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVSet, Key: vault + k, Value: []byte(v)})
	}
	for _, k := range deletes {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVDelete, Key: vault + k})
	}
	q := &api.QueryOptions{RequireConsistent: true}
	ok, answer, _, err := b.c.KV().Txn(ops, q)
	if err != nil || !ok {
		b.t.Fatalf("%s: commit: %v %+v", b.name, err, answer)
	}
}

// list returns what is in a folder: entries, and folders with a slash.
func (b *storage) list(folder string) []string {
	b.t.Helper()
	keys, _, err := b.c.KV().Keys(vault+folder, "/", &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		b.t.Fatal(err)
	}
	for i, k := range keys {
		keys[i] = k[len(vault+folder):]
	}
	return keys
}

// raise adds one to a number by check-and-set, however many others do so.
func (b *storage) raise(key string) {
	b.t.Helper()
	for {
		p, _, err := b.c.KV().Get(vault+key, &api.QueryOptions{RequireConsistent: true})
		if err != nil {
			b.t.Error(err)
			return
		}
		next := &api.KVPair{Key: vault + key, Value: []byte("1")}
		if p != nil {
			n, _ := strconv.Atoi(string(p.Value))
			next.Value, next.ModifyIndex = []byte(strconv.Itoa(n+1)), p.ModifyIndex
		}
		done, _, err := b.c.KV().CAS(next, nil)
		if err != nil {
			b.t.Error(err)
			return
		}
		if done {
			return
		}
	}
}

// campaign makes the lock of the active instance.
func (b *storage) campaign() *api.Lock {
	b.t.Helper()
	l, err := b.c.LockOpts(&api.LockOptions{
		Key: vault + "core/lock", Value: []byte("https://" + b.name + ":8200"),
		SessionName: "Vault Lock", SessionTTL: "10s", LockWaitTime: time.Second,
		MonitorRetries: 10, MonitorRetryTime: 200 * time.Millisecond,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

func TestAsVaultUsesIt(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	one, two := &storage{t, "one", a.client()}, &storage{t, "two", a.client()}

	stop := make(chan struct{})
	defer close(stop)
	active := one.campaign()
	lost, err := active.Lock(stop)
	if err != nil || lost == nil {
		t.Fatalf("the first instance did not become active: %v", err)
	}
	standby := two.campaign()
	taken := make(chan struct{})
	go func() {
		for { // who waits is told when the registry goes, and waits again
			if lost, _ := standby.Lock(stop); lost != nil {
				close(taken)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()

	many := map[string]string{}
	for n := range 64 {
		many[fmt.Sprintf("logical/%02d/data", n)] = "secret"
	}
	one.commit(many)
	one.commit(map[string]string{"core/keyring": "k", "sys/policy/default": "p"})
	one.commit(map[string]string{"core/keyring": "k2"}, "logical/00/data", "logical/not-there")
	if got := one.list(""); !slices.Equal(got, []string{"core/", "logical/", "sys/"}) {
		t.Errorf("the root folder has %v", got)
	}
	if got := one.list("core/"); !slices.Equal(got, []string{"keyring", "lock"}) {
		t.Errorf("core/ has %v", got)
	}
	if got := one.list("logical/"); len(got) != 63 || got[0] != "01/" {
		t.Errorf("logical/ has %d folders, the first %q", len(got), got[:1])
	}

	var writers sync.WaitGroup
	for _, b := range []*storage{one, two} {
		for range 4 {
			writers.Go(func() {
				for range 25 {
					b.raise("counter")
				}
			})
		}
	}
	writers.Wait()
	if p, _, err := one.c.KV().Get(vault+"counter", nil); err != nil || string(p.Value) != "200" {
		t.Errorf("200 times raised by check-and-set: %+v %v", p, err)
	}

	// The registry is killed: the active instance stays active, and all is there.
	a.kill()
	a.run()
	if got := one.list("logical/"); len(got) != 63 {
		t.Errorf("after the restart logical/ has %d folders", len(got))
	}
	select {
	case <-lost:
		t.Error("the active instance lost its lock over a restart of the registry")
	case <-taken:
		t.Error("two instances are active")
	case <-time.After(2 * time.Second):
	}
	leader, _, err := two.c.KV().Get(vault+"core/lock", nil)
	if err != nil || leader == nil || leader.Session == "" || !bytes.Equal(leader.Value, []byte("https://one:8200")) {
		t.Errorf("the standby finds the active one at %+v, %v", leader, err)
	}
	if err := active.Unlock(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-taken:
	case <-time.After(patience):
		t.Fatal("the standby did not become active")
	}
	leader, _, err = one.c.KV().Get(vault+"core/lock", nil)
	if err != nil || string(leader.Value) != "https://two:8200" {
		t.Errorf("the active instance is at %+v, %v", leader, err)
	}
	if err := standby.Unlock(); err != nil {
		t.Error(err)
	}
}
