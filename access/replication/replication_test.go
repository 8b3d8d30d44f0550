package replication_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/replication"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// place is a datacenter.
type place struct {
	*access.Store
	t    *testing.T
	kv   *replicatest.Memory
	gate *access.Gate
}

func newPlace(t *testing.T, name, primary string, tokens bool) *place {
	t.Helper()
	kv := replicatest.NewMemory()
	s, err := access.New(access.Options{KV: kv, Datacenter: name, Node: name, Primary: primary, CopyTokens: tokens, Defaults: rules.Strict})
	if err == nil {
		err = s.Init(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return &place{s, t, kv, access.NewGate(s, nil)}
}

// token makes a token that may write a service.
func (p *place) token(service string, local bool) *skerry.Token {
	p.t.Helper()
	made, err := p.PutPolicy(p.t.Context(), skerry.Policy{Name: service, Rules: `service "` + service + `" { policy = "write" }`})
	if err != nil {
		p.t.Fatal(err)
	}
	t, err := p.CreateToken(p.t.Context(), skerry.Token{Local: local, Grants: skerry.Grants{Policies: []skerry.Link{{ID: made.ID}}}}, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return t
}

// writes reports whether the holder of a secret may write a service.
func (p *place) writes(secret, service string) bool {
	who, err := p.gate.Identify(secret)
	return err == nil && who.Allows(skerry.ResourceService, service, skerry.AccessWrite)
}

func (p *place) want(secret, service string, want bool) {
	p.t.Helper()
	if got := p.writes(secret, service); got != want {
		p.t.Errorf("%s at %v: %v, want %v", service, time.Now(), got, want)
	}
}

// wire is the way from a datacenter to its primary one.
type wire struct {
	mu    sync.Mutex
	to    *place
	cut   bool
	asked int
	most  func(replication.Question) error
	alter func(replication.Question, *replication.Answer)
}

func (w *wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *wire) ask(ctx context.Context, q replication.Question) (replication.Answer, error) {
	w.mu.Lock()
	to, cut, most := w.to, w.cut, w.most
	w.asked++
	w.mu.Unlock()
	if cut {
		return replication.Answer{}, errors.New("No path to datacenter")
	}
	if most != nil {
		if err := most(q); err != nil {
			return replication.Answer{}, err
		}
	}
	a, err := replication.Resolve(ctx, to.Store, q)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return replication.Answer{}, errors.New("connection reset")
	}
	if w.alter != nil {
		w.alter(q, &a)
	}
	return a, err
}

// world is a primary datacenter and one that copies.
type world struct {
	one, two *place
	wire     *wire
	r        *replication.Replicator
	log      *bytes.Buffer
	stop     func()
}

func (w *world) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.r.Run(ctx) })
	w.stop = func() {
		cancel()
		running.Wait()
	}
}

// inTime runs a test on a clock of its own, with a primary datacenter that has a first token.
func inTime(t *testing.T, tokens bool, do func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{one: newPlace(t, "dc1", "", false), two: newPlace(t, "dc2", "dc1", tokens), log: &bytes.Buffer{}}
		if _, err := w.one.Bootstrap(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		w.wire = &wire{to: w.one}
		w.r = w.replicator(tokens)
		w.run(t)
		do(t, w)
		w.stop()
	})
}

func (w *world) replicator(tokens bool) *replication.Replicator {
	lead := func() bool { return true }
	return replication.New(replication.Config{
		Primary: "dc1", Tokens: tokens, Store: w.two.Store, KV: w.two.kv, Ask: w.wire.ask, Leads: lead, Led: lead,
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	})
}

// soon is the longest that a change takes.
const soon = 2 * time.Second

func TestAChangeArrives(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		web, local := w.one.token("web", false), w.one.token("db", true)
		time.Sleep(soon)
		w.two.want(web.Secret, "web", true)
		w.two.want(web.Secret, "db", false)
		w.two.want(local.Secret, "db", false)
		if p := w.two.PolicyByName("web"); p == nil || p.ID != web.Policies[0].ID {
			t.Errorf("the policy by its name: %+v", p)
		}
		if shown := w.two.Token(web.Accessor); shown == nil || shown.Secret != "" {
			t.Errorf("the token is shown as %+v", shown)
		}

		// Names change places, and what is removed is gone.
		ctx := t.Context()
		a, _ := w.one.PutPolicy(ctx, skerry.Policy{Name: "a", Rules: ``})
		b, _ := w.one.PutPolicy(ctx, skerry.Policy{Name: "b", Rules: ``})
		time.Sleep(soon)
		for _, p := range []skerry.Policy{{ID: a.ID, Name: "c"}, {ID: b.ID, Name: "a"}, {ID: a.ID, Name: "b"}} {
			if _, err := w.one.PutPolicy(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.one.DeleteToken(ctx, web.Accessor); err != nil {
			t.Fatal(err)
		}
		time.Sleep(soon)
		for name, id := range map[string]string{"a": b.ID, "b": a.ID, "c": ""} {
			if p := w.two.PolicyByName(name); id == "" && p != nil || id != "" && (p == nil || p.ID != id) {
				t.Errorf("the policy %s is %+v, want %s", name, p, id)
			}
		}
		if _, err := w.two.gate.Identify(web.Secret); skerry.KindOf(err) != skerry.Denied {
			t.Errorf("a token that was removed: %v", err)
		}
		w.alike(t)
	})
}

// alike checks that the copy is like the records.
func (w *world) alike(t *testing.T) {
	t.Helper()
	if one, two := w.one.Records(true).Digest(), w.two.Records(true).Digest(); !bytes.Equal(one, two) {
		t.Error("the copy differs")
	}
}

// Nothing is written and nobody is woken while nothing changes, whatever else the store is used for.
func TestNothingIsWrittenWhileNothingChanges(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		index := w.two.Index()
		w.wire.set(func() { w.wire.asked = 0 })
		for range 60 {
			w.one.kv.Update(t.Context(), func(tx skerry.Tx) error {
				tx.Put("kv/x", []byte(time.Now().String()), 0)
				return nil
			})
			time.Sleep(time.Minute)
		}
		w.wire.set(func() {
			if w.wire.asked > 125 || w.two.Index() != index {
				t.Errorf("%d questions in an hour, the index moved from %d to %d", w.wire.asked, index, w.two.Index())
			}
		})
		if age := time.Since(w.r.State().Success); age > time.Minute {
			t.Errorf("the copy counts as %v old", age)
		}
	})
}

func TestLocalTokensStay(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		web := w.one.token("web", false)
		time.Sleep(soon)
		local, err := w.two.CreateToken(t.Context(), skerry.Token{Local: true, Grants: skerry.Grants{Policies: web.Policies}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		// A whole copy, since the copy was changed by a hand.
		w.two.kv.Update(t.Context(), func(tx skerry.Tx) error {
			for _, r := range tx.All("acl/policy/") {
				tx.Put(r.Key, []byte(`{}`), 0)
			}
			tx.Put("acl/role/x", []byte(`{"id":"x","name":"x"}`), 0)
			return nil
		})
		w.one.token("db", false)
		time.Sleep(2 * soon)
		w.two.want(local.Secret, "web", true)
		w.two.want(web.Secret, "web", true)
		w.alike(t)
		if _, err := w.two.CreateToken(t.Context(), skerry.Token{}, 0); err == nil {
			t.Error("a token that is not local is made in a datacenter that does not decide")
		}
	})
}

// A copied token that ended is refused, and stays until the primary datacenter removes it: else the copy would differ. A local one
// is removed.
func TestTokensThatEnd(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		var tidying sync.WaitGroup
		tidying.Go(func() { w.two.Run(ctx) })
		global, err := w.one.CreateToken(t.Context(), skerry.Token{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(soon)
		local, err := w.two.CreateToken(t.Context(), skerry.Token{Local: true}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		for _, one := range []*skerry.Token{global, local} {
			if _, err := w.two.gate.Identify(one.Secret); skerry.KindOf(err) != skerry.Denied {
				t.Errorf("a token that ended: %v", err)
			}
		}
		w.alike(t)
		if w.two.kv.Snapshot().Get("acl/token/"+local.Accessor) != nil || w.two.kv.Snapshot().Get("acl/token/"+global.Accessor) == nil {
			t.Error("the local token is removed, and the other is not")
		}
		w.one.DeleteToken(t.Context(), global.Accessor)
		time.Sleep(soon)
		for r := range w.two.kv.Snapshot().All(skerry.Below("acl/expiry/"), "") {
			t.Errorf("%s is left", r.Key)
		}
		cancel()
		tidying.Wait()
	})
}

// The policies that a datacenter had before are replaced, also those of the same name.
func TestThePrimaryWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{one: newPlace(t, "dc1", "", false), two: newPlace(t, "dc2", "", false), log: &bytes.Buffer{}}
		w.one.Bootstrap(t.Context(), "")
		w.two.Bootstrap(t.Context(), "")
		mine, before := w.one.token("web", false), w.two.token("web", false)
		w.two.want(before.Secret, "web", true)
		s, err := access.New(access.Options{KV: w.two.kv, Datacenter: "dc2", Primary: "dc1", CopyTokens: true, Defaults: rules.Strict})
		if err != nil {
			t.Fatal(err)
		}
		w.two.Store, w.two.gate = s, access.NewGate(s, nil)
		w.wire = &wire{to: w.one}
		w.r = w.replicator(true)
		w.run(t)
		time.Sleep(soon)
		w.two.want(mine.Secret, "web", true)
		w.two.want(before.Secret, "web", false)
		w.alike(t)
		w.stop()
	})
}

// A primary datacenter that lost its tokens does not take them from the others.
func TestAnEmptyPrimaryReplacesNothing(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		web := w.one.token("web", false)
		time.Sleep(soon)
		empty := newPlace(t, "dc1", "", false)
		w.wire.set(func() { w.wire.to = empty })
		time.Sleep(time.Minute)
		w.two.want(web.Secret, "web", true)
		if s := w.r.State(); !strings.Contains(s.Reason, "no first token") || time.Since(s.Failure) > time.Minute {
			t.Errorf("the state is %+v", s)
		}
		// It is built anew: its own tokens hold from then on, whatever its index.
		if _, err := empty.Bootstrap(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		db := empty.token("db", false)
		time.Sleep(10 * time.Second)
		w.two.want(web.Secret, "web", false)
		w.two.want(db.Secret, "db", true)
	})
}

func TestThePrimaryIsGoneForAnHour(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		web, db := w.one.token("web", false), w.one.token("db", false)
		time.Sleep(soon)
		w.wire.set(func() { w.wire.cut = true })
		time.Sleep(time.Minute)
		if err := w.one.DeleteToken(t.Context(), db.Accessor); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			time.Sleep(time.Minute)
			w.two.want(web.Secret, "web", true)
			w.two.want(db.Secret, "db", true)
		}
		if s := w.r.State(); time.Since(s.Success) < time.Hour || time.Since(s.Failure) > time.Minute || s.Reason == "" {
			t.Errorf("the state is %+v", s)
		}
		// A new process has the copy too.
		w.stop()
		w.r = w.replicator(true)
		w.run(t)
		time.Sleep(time.Minute)
		w.two.want(web.Secret, "web", true)
		w.wire.set(func() { w.wire.cut = false })
		time.Sleep(6 * time.Second)
		w.two.want(web.Secret, "web", true)
		w.two.want(db.Secret, "db", false)
		w.stop()
		if n := strings.Count(w.log.String(), "cannot be copied"); n != 2 || strings.Count(w.log.String(), "copied again") != 1 { // one for each process
			t.Errorf("the log:\n%s", w.log)
		}
		w.run(t)
	})
}

// A copy in parts is taken when it is whole.
func TestACopyInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{one: newPlace(t, "dc1", "", false), two: newPlace(t, "dc2", "dc1", true), log: &bytes.Buffer{}}
		w.one.Bootstrap(t.Context(), "")
		long := "# " + strings.Repeat("x", 10_000)
		for i := range 600 {
			if _, err := w.one.PutPolicy(t.Context(), skerry.Policy{Name: fmt.Sprint("p", i), Rules: long}); err != nil {
				t.Fatal(err)
			}
		}
		var broken atomic.Bool
		broken.Store(true)
		w.wire = &wire{to: w.one}
		w.wire.most = func(q replication.Question) error {
			if broken.Load() && q.After != "" {
				return errors.New("connection reset")
			}
			return nil
		}
		w.r = w.replicator(true)
		w.run(t)
		time.Sleep(soon)
		if all, _ := w.two.Policies(); len(all) > 0 || w.two.CopyState().Source != "" {
			t.Errorf("%d policies of a copy that is not whole", len(all))
		}
		w.wire.set(func() {
			broken.Store(false)
			w.wire.alter = func(q replication.Question, a *replication.Answer) { a.Whole = a.Whole && q.After == "" }
		})
		time.Sleep(10 * time.Second)
		if all, _ := w.two.Policies(); len(all) > 0 || !strings.Contains(w.r.State().Reason, "not whole") {
			t.Errorf("%d policies of a copy with other parts: %s", len(all), w.r.State().Reason)
		}
		w.wire.set(func() { w.wire.alter = nil })
		time.Sleep(10 * time.Second)
		if all, _ := w.two.Policies(); len(all) != 602 {
			t.Errorf("%d policies", len(all))
		}
		w.alike(t)
		w.stop()
	})
}

// Where tokens are not copied, a change of one is told: its holder is to be asked for again.
func TestAChangeOfATokenIsTold(t *testing.T) {
	inTime(t, false, func(t *testing.T, w *world) {
		web := w.one.token("web", false)
		time.Sleep(soon)
		if w.two.PolicyByName("web") == nil || w.two.Token(web.Accessor) != nil {
			t.Error("policies are copied, and tokens are not")
		}
		index := w.two.Index()
		time.Sleep(time.Minute)
		if w.two.Index() != index {
			t.Error("the index moves while nothing changes")
		}
		w.one.DeleteToken(t.Context(), web.Accessor)
		time.Sleep(soon)
		if w.two.Index() == index {
			t.Error("the index does not move with a token")
		}
	})
}

// A server that was overtaken by another one takes nothing.
func TestACopyThatWasOvertaken(t *testing.T) {
	inTime(t, true, func(t *testing.T, w *world) {
		w.one.token("web", false)
		time.Sleep(soon)
		w.stop()
		is := w.two.CopyState()
		older := is
		older.Index--
		if err := w.two.Take(t.Context(), older, older, true, nil); skerry.KindOf(err) != skerry.Conflict || w.two.CopyState() != is {
			t.Errorf("a copy upon another state: %v", err)
		}
		w.run(t)
	})
}

// failing is a store that fails from some change on.
type failing struct {
	*replicatest.Memory
	left int // changes
}

// Update implements [skerry.KV].
func (f *failing) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	if f.left--; f.left < 0 {
		return 0, skerry.Errorf(skerry.Unavailable, "no majority")
	}
	return f.Memory.Update(ctx, change)
}

// Nothing is removed before all that is new was written.
func TestRemovalsAreLast(t *testing.T) {
	kv := &failing{replicatest.NewMemory(), 2}
	two, err := access.New(access.Options{KV: kv, Datacenter: "dc2", Primary: "dc1"})
	if err != nil {
		t.Fatal(err)
	}
	before, err := two.PutPolicy(t.Context(), skerry.Policy{Name: "before"})
	if err != nil {
		t.Fatal(err)
	}
	one := newPlace(t, "dc1", "", false)
	for i := range 600 {
		if _, err := one.PutPolicy(t.Context(), skerry.Policy{Name: fmt.Sprint("p", i)}); err != nil {
			t.Fatal(err)
		}
	}
	part, _, err := one.Records(false).Part("", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := two.Take(t.Context(), access.CopyState{}, one.Records(false).State(), true, part); skerry.KindOf(err) != skerry.Unavailable || two.Policy(before.ID) == nil || two.CopyState().Source != "" {
		t.Errorf("half a copy: %v", err)
	}
	kv.left = 2
	if err := two.Take(t.Context(), access.CopyState{}, one.Records(false).State(), true, part); err != nil || two.Policy(before.ID) != nil {
		t.Errorf("the whole copy: %v", err)
	}
}

// Whatever the primary datacenter sends, no local token, secret or other record is written.
func TestOnlyRecordsThatAreCopiedAreTaken(t *testing.T) {
	two := newPlace(t, "dc2", "dc1", true)
	for _, c := range []access.Copy{
		{Key: "acl/secret/x", Value: []byte("x")}, {Key: "kv/x", Value: []byte("x")}, {Key: "acl/token/x", Value: []byte("{}")},
		{Key: "acl/policy/x", Value: []byte(`{"id":"y","name":"n"}`)}, {Key: "acl/policy/x", Value: []byte(`nothing`)}, {Key: "acl/bootstrap"},
		{Key: "acl/token/x", Value: []byte(`{"accessor":"x","local":true,"secret_hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`)},
	} {
		if err := two.Take(t.Context(), access.CopyState{}, access.CopyState{Source: "dc1", Index: 1}, false, []access.Copy{c}); skerry.KindOf(err) != skerry.Invalid {
			t.Errorf("%s: %v", c.Key, err)
		}
	}
	if two.kv.Snapshot().Index() != 1 && two.CopyState().Source != "" {
		t.Error("something was written")
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add("acl/policy/x", []byte(`{"id":"x","name":"n"}`), true)
	f.Add("acl/token/x", []byte(`{"accessor":"x","secret_hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`), false)
	f.Add("acl/role/x", []byte(nil), true)
	f.Fuzz(func(t *testing.T, key string, value []byte, whole bool) {
		kv := replicatest.NewMemory()
		s, err := access.New(access.Options{KV: kv, Datacenter: "dc2", Primary: "dc1", CopyTokens: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Take(context.Background(), access.CopyState{}, access.CopyState{Source: "dc1", Index: 1}, whole, []access.Copy{{Key: key, Value: value}})
		for r := range kv.Snapshot().All(skerry.Below(""), "") {
			if !strings.HasPrefix(r.Key, "acl/") {
				t.Errorf("it wrote %q", r.Key)
			}
		}
	})
}
