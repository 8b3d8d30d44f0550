package once_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

const id = "00112233445566778899aabbccddeeff"

// add adds a letter to a key, as an attempt, and returns what the attempt says that it made.
func add(ctx context.Context, kv skerry.KV, letter string) (made string, err error) {
	_, err = once.Update(ctx, kv, &made, func(tx skerry.Tx) error {
		var was []byte
		if r := tx.Get("log"); r != nil {
			was = r.Value
		}
		made = string(was) + letter
		tx.Put("log", []byte(made), 0)
		return nil
	})
	return made, err
}

func value(kv skerry.KV, key string) string {
	if r := kv.Snapshot().Get(key); r != nil {
		return string(r.Value)
	}
	return ""
}

// records returns how many records of requests there are.
func records(kv skerry.KV) (n int) {
	for r := range kv.Snapshot().All(skerry.Below(skerry.Fleeting), "") {
		if !strings.HasSuffix(r.Key, "epoch") {
			n++
		}
	}
	return n
}

func TestAttemptsOfARequestAreOneChange(t *testing.T) {
	kv := replicatest.NewMemory()
	for _, asks := range []string{"a", "a", "b", "a"} {
		ctx := once.With(t.Context(), once.Begin(0, id, asks))
		if made, err := add(ctx, kv, asks); err != nil || made != "a" && asks == "a" || made != "ab" && asks == "b" {
			t.Errorf("%s: %q, %v", asks, made, err)
		}
	}
	if got := value(kv, "log"); got != "ab" || records(kv) != 2 {
		t.Errorf("made %q with %d records", got, records(kv))
	}
	for r := range kv.Snapshot().All(skerry.Below(""), "") {
		if strings.Contains(r.Key+string(r.Value), id) {
			t.Errorf("%s has the id of a request, which is a secret", r.Key)
		}
	}
}

func TestARequestWithoutAnIDLeavesNoRecord(t *testing.T) {
	kv := replicatest.NewMemory()
	for range 2 {
		if _, err := add(t.Context(), kv, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if one, other := once.ID(t.Context()), once.ID(t.Context()); one == other {
		t.Error("two new IDs are the same")
	}
	if got := value(kv, "log"); got != "aa" || records(kv) != 0 {
		t.Errorf("made %q with %d records", got, records(kv))
	}
}

func TestAChangeOfNothingLeavesNoRecord(t *testing.T) {
	kv := replicatest.NewMemory()
	ctx := once.With(t.Context(), once.Begin(0, id))
	if _, err := once.Update(ctx, kv, nil, func(tx skerry.Tx) error { tx.Get("log"); return nil }); err != nil || records(kv) != 0 {
		t.Errorf("%d records, %v", records(kv), err)
	}
	refused := skerry.Errorf(skerry.Invalid, "no")
	if _, err := once.Update(ctx, kv, nil, func(tx skerry.Tx) error { tx.Put("log", nil, 0); return refused }); err != refused || records(kv) != 0 {
		t.Errorf("%d records, %v", records(kv), err)
	}
}

// A later attempt is asked first whether another was made, and then evaluates nothing.
func TestMadeBefore(t *testing.T) {
	kv := replicatest.NewMemory()
	first := once.With(t.Context(), once.Begin(0, id))
	if made, err := once.Begin(0, id).Made(kv)(t.Context()); made || err != nil || once.Replays(first) {
		t.Fatalf("made before it came: %v %v", made, err)
	}
	ids := []string{once.ID(first), once.ID(first)}
	if _, err := add(first, kv, "a"); err != nil {
		t.Fatal(err)
	}
	second := once.Begin(0, id)
	ctx := once.With(t.Context(), second)
	once.ID(ctx) // of an evaluation that failed
	if made, err := second.Made(kv)(ctx); !made || err != nil || !once.Replays(ctx) {
		t.Errorf("the second attempt: %v %v", made, err)
	}
	if got := []string{once.ID(ctx), once.ID(ctx)}; fmt.Sprint(got) != fmt.Sprint(ids) || ids[0] == ids[1] {
		t.Errorf("IDs %v, then %v", ids, got)
	}
	if made, err := add(ctx, kv, "b"); made != "a" || err != nil {
		t.Errorf("the outcome: %q %v", made, err)
	}
	if _, err := add(ctx, kv, "b"); err == nil {
		t.Error("a change was made that the first attempt did not make")
	}
	if got := value(kv, "log"); got != "a" {
		t.Errorf("made %q", got)
	}
}

// A server that hung between evaluation and commit finds what was made meanwhile.
func TestAnAttemptThatHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := replicatest.NewMemory()
		goOn := make(chan struct{})
		done := make(chan string)
		go func() {
			var made string
			hung := true
			_, err := once.Update(once.With(t.Context(), once.Begin(0, id)), kv, &made, func(tx skerry.Tx) error {
				made = "first"
				tx.Put("log", []byte(made), 0) // without a look at what is there
				if hung {
					hung = false
					<-goOn
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			done <- made
		}()
		synctest.Wait()
		if _, err := add(once.With(t.Context(), once.Begin(0, id)), kv, "second"); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		if made := <-done; made != "second" || value(kv, "log") != "second" {
			t.Errorf("the first attempt has %q, made is %q", made, value(kv, "log"))
		}
	})
}

func TestALargeOutcomeIsNotKept(t *testing.T) {
	kv := replicatest.NewMemory()
	large := strings.Repeat("x", 70<<10)
	if made, err := add(once.With(t.Context(), once.Begin(0, id)), kv, large); err != nil || made != large {
		t.Fatal(err)
	}
	if _, err := add(once.With(t.Context(), once.Begin(0, id)), kv, large); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("the second attempt: %v", err)
	}
	if got := value(kv, "log"); got != large {
		t.Errorf("made %d bytes", len(got))
	}
}

// sweeping runs a sweeper until stop is called.
func sweeping(t *testing.T, kv skerry.KV, leads bool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		(&once.Sweeper{KV: kv, Leads: func() bool { return leads }}).Run(ctx)
		close(done)
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func TestRecordsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := replicatest.NewMemory()
		defer sweeping(t, kv, true)()
		defer sweeping(t, kv, true)() // two servers that both think that they lead
		defer sweeping(t, kv, false)()
		index := kv.Index()
		pass(5 * time.Minute)
		if kv.Index() != index {
			t.Error("something was changed although there is no record")
		}
		begin := func(n int) context.Context {
			return once.With(t.Context(), once.Begin(once.Epoch(kv), fmt.Sprint(id, n)))
		}
		for n := range 1000 {
			if _, err := add(begin(n), kv, ""); err != nil {
				t.Fatal(err)
			}
		}
		late := begin(1000)
		pass(time.Minute + time.Second)
		if got := records(kv); got != 1000 || once.Epoch(kv) != 1 {
			t.Errorf("after a minute: %d records, in the epoch %d", got, once.Epoch(kv))
		}
		if _, err := add(late, kv, "x"); err != nil {
			t.Errorf("a request of the epoch before: %v", err)
		}
		pass(time.Minute + time.Second)
		if got := records(kv); got != 0 || once.Epoch(kv) != 2 {
			t.Errorf("after two minutes: %d records, in the epoch %d", got, once.Epoch(kv))
		}
		if _, err := add(late, kv, "x"); err == nil || !strings.Contains(err.Error(), "too late") || value(kv, "log") != "x" {
			t.Errorf("a request whose record was swept: %q %v", value(kv, "log"), err)
		}
	})
}

// A commit that was evaluated before a sweep, and comes to the store after it, is refused.
func TestASweepOvertakesACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := replicatest.NewMemory()
		defer sweeping(t, kv, true)()
		goOn, done := make(chan struct{}), make(chan error)
		go func() {
			hung := true
			_, err := once.Update(once.With(t.Context(), once.Begin(0, id)), kv, nil, func(tx skerry.Tx) error {
				tx.Put("log", []byte("hung"), 0)
				if hung {
					hung = false
					<-goOn
				}
				return nil
			})
			done <- err
		}()
		synctest.Wait()
		if _, err := add(once.With(t.Context(), once.Begin(0, id)), kv, "made"); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Minute)
		if records(kv) != 0 {
			t.Fatal("the record is still there")
		}
		close(goOn)
		if err := <-done; err == nil || value(kv, "log") != "made" {
			t.Errorf("made twice: %q %v", value(kv, "log"), err)
		}
	})
}

// pass lets time pass, in a bubble.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// full is a store that takes deletions only.
type full struct{ *replicatest.Memory }

type fullTx struct {
	skerry.Tx
	puts bool
}

// Put implements [skerry.Tx].
func (f *fullTx) Put(string, []byte, skerry.LeaseID) { f.puts = true }

// Update implements [skerry.KV].
func (f full) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	return f.Memory.Update(ctx, func(tx skerry.Tx) error {
		x := &fullTx{Tx: tx}
		if err := change(x); err != nil || !x.puts {
			return err
		}
		return skerry.Errorf(skerry.Exhausted, "the store is full")
	})
}

func TestAFullStoreTakesDeletions(t *testing.T) {
	kv := full{replicatest.NewMemory()}
	if _, err := add(t.Context(), kv.Memory, "a"); err != nil {
		t.Fatal(err)
	}
	ctx := once.With(t.Context(), once.Begin(0, id))
	if _, err := add(ctx, kv, "b"); skerry.KindOf(err) != skerry.Exhausted {
		t.Errorf("a write: %v", err)
	}
	if _, err := once.Update(ctx, kv, nil, func(tx skerry.Tx) error { tx.Delete("log"); return nil }); err != nil || kv.Snapshot().Get("log") != nil {
		t.Errorf("a deletion: %v", err)
	}
}
