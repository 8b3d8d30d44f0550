package remote_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// primary is a datacenter that decides, and the gate of a server in another one.
type primary struct {
	*access.Store
	two *access.Store
	far *remote.Far
	kv  *replicatest.Memory // of two

	mu    sync.Mutex
	cut   bool
	asked int // questions
}

func (p *primary) ask(_ context.Context, q remote.Question) (remote.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.cut {
		return remote.Answer{}, errors.New("No path to datacenter")
	}
	return remote.Resolve(p.Store, q)
}

func (p *primary) questions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.asked
	p.asked = 0
	return n
}

func (p *primary) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// tell lets the copy of the other datacenter move, as it does with each change of a token.
func (p *primary) tell(t *testing.T) {
	t.Helper()
	is := p.two.CopyState()
	next := p.Records(false).State()
	if err := p.two.Take(t.Context(), is, next, false, nil); err != nil {
		t.Fatal(err)
	}
}

func (p *primary) token(t *testing.T, more skerry.Token) *skerry.Token {
	t.Helper()
	made, err := p.CreateToken(t.Context(), more, 0)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func withFar(t *testing.T, do func(t *testing.T, p *primary)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &primary{kv: replicatest.NewMemory()}
		var err error
		if p.Store, err = access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc1", Defaults: rules.Open}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Bootstrap(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if p.two, err = access.New(access.Options{KV: p.kv, Datacenter: "dc2", Primary: "dc1", Defaults: rules.Strict}); err != nil {
			t.Fatal(err)
		}
		tokens, err := access.NewAgentTokens(nil, "")
		if err != nil {
			t.Fatal(err)
		}
		p.far = remote.NewFar(p.two, remote.Config{Node: "s1", Ask: p.ask, Tokens: tokens, Down: remote.ExtendCache, Datacenter: "dc2"})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.far.Run(ctx) })
		do(t, p)
		cancel()
		running.Wait()
	})
}

func (p *primary) want(t *testing.T, secret, service string, want bool) {
	t.Helper()
	who, err := p.far.Identify(secret)
	if got := err == nil && who.Allows(skerry.ResourceService, service, skerry.AccessWrite); got != want {
		t.Errorf("%s: %v (%v), want %v", service, got, err, want)
	}
}

func service(names ...string) (g skerry.Grants) {
	for _, name := range names {
		g.Services = append(g.Services, skerry.ServiceIdentity{Service: name})
	}
	return g
}

// The primary datacenter tells what a token may do in this one. The access to names without a rule is this one's.
func TestTheHolderOfATokenElsewhere(t *testing.T) {
	withFar(t, func(t *testing.T, p *primary) {
		web := p.token(t, skerry.Token{Grants: service("web")})
		there := p.token(t, skerry.Token{Grants: skerry.Grants{Services: []skerry.ServiceIdentity{{Service: "web", Datacenters: []string{"dc1"}}}}})
		local := p.token(t, skerry.Token{Local: true, Grants: service("web")})
		p.want(t, web.Secret, "web", true)
		p.want(t, web.Secret, "db", false)
		p.want(t, there.Secret, "web", false)
		p.want(t, local.Secret, "web", false)
		if _, err := p.far.Identify(local.Secret); skerry.KindOf(err) != skerry.Denied {
			t.Errorf("a local token of the primary datacenter: %v", err)
		}
		if who, err := p.far.Identify(""); err != nil || !who.Anonymous() || who.Allows(skerry.ResourceService, "web", skerry.AccessRead) {
			t.Errorf("without a token: %v", err)
		}
	})
}

// A token in use is asked for again now and then, and at once after a change, and no more often.
func TestTheHolderIsAskedForAgain(t *testing.T) {
	withFar(t, func(t *testing.T, p *primary) {
		web := p.token(t, skerry.Token{Grants: service("web")})
		p.want(t, web.Secret, "web", true)
		p.questions()
		for range 300 {
			p.want(t, web.Secret, "web", true)
			time.Sleep(time.Second)
		}
		if n := p.questions(); n < 10 || n > 20 {
			t.Errorf("%d questions in five minutes", n)
		}
		if err := p.DeleteToken(t.Context(), web.Accessor); err != nil {
			t.Fatal(err)
		}
		changed := p.far.Changed()
		p.tell(t)
		time.Sleep(time.Second)
		p.want(t, web.Secret, "web", false)
		select {
		case <-changed:
		default:
			t.Error("the change wakes no request that waits")
		}
	})
}

func TestThePrimaryIsAwayForAnHour(t *testing.T) {
	withFar(t, func(t *testing.T, p *primary) {
		web, idle := p.token(t, skerry.Token{Grants: service("web")}), p.token(t, skerry.Token{Grants: service("web")})
		p.want(t, web.Secret, "web", true)
		p.setCut(true)
		for range 60 {
			time.Sleep(time.Minute)
			p.want(t, web.Secret, "web", true)
			p.want(t, web.Secret, "db", false)
			p.want(t, idle.Secret, "web", false)
		}
		if h, err := p.far.Holder(web.Secret, ""); err != nil || h.Accessor != web.Accessor {
			t.Errorf("an agent asks: %+v, %v", h, err)
		}
		if _, err := p.far.Holder(idle.Secret, ""); skerry.KindOf(err) != skerry.Unavailable {
			t.Errorf("an agent asks for a token that is not known: %v", err)
		}
		if err := p.DeleteToken(t.Context(), web.Accessor); err != nil {
			t.Fatal(err)
		}
		p.setCut(false)
		p.tell(t)
		time.Sleep(3 * time.Second)
		p.want(t, web.Secret, "web", false)
		p.want(t, idle.Secret, "web", true)
	})
}

// Many tokens that an agent asks for are one question.
func TestManyTokensAreOneQuestion(t *testing.T) {
	withFar(t, func(t *testing.T, p *primary) {
		var q remote.Question
		for range 50 {
			q.Tokens = append(q.Tokens, remote.Asked{Secret: p.token(t, skerry.Token{Grants: service("web")}).Secret})
		}
		p.tell(t)
		p.two.Take(t.Context(), p.two.CopyState(), p.Records(false).State(), true, parts(t, p))
		p.far.Prepare(t.Context(), q.Tokens)
		a, err := remote.Resolve(p.far, q)
		if err != nil || len(a.Found) != 50 || a.Found[49].Holder == nil {
			t.Fatalf("%d answers, %v", len(a.Found), err)
		}
		if n := p.questions(); n != 1 {
			t.Errorf("%d questions", n)
		}
	})
}

func parts(t *testing.T, p *primary) []access.Copy {
	t.Helper()
	all, _, err := p.Records(false).Part("", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
