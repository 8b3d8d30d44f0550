package remote_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/remote"
	"github.com/skerryhq/skerry/access/rules"
)

// servers are the tokens of servers, and the way to them.
type servers struct {
	mu       sync.Mutex
	index    uint64
	tokens   map[string]*access.Holder
	defaults rules.Defaults
	down     bool
	hang     bool // until the question's context ends
	slow     time.Duration
	calls    int
	asked    []string
}

func newServers() *servers {
	s := &servers{index: 7, tokens: map[string]*access.Holder{}}
	s.tokens[skerry.AnonymousSecret] = &access.Holder{Accessor: skerry.AnonymousAccessor, Anonymous: true, Key: "none"}
	s.put("web", "writes web")
	return s
}

// put gives a token the write access to the service that its key ends with.
func (s *servers) put(secret, key string) {
	words := strings.Fields(key)
	rule := rules.Rule{Resource: skerry.ResourceService, Name: words[len(words)-1], Access: skerry.AccessWrite}
	s.set(func() {
		s.tokens[secret] = &access.Holder{Accessor: "accessor of " + secret, Key: key, Policies: []rules.Policy{{Name: "p", Rules: []rules.Rule{rule}}}}
	})
}

func (s *servers) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.index++
}

func (s *servers) ask(ctx context.Context, q remote.Question) (remote.Answer, error) {
	s.mu.Lock()
	s.calls++
	hang, slow := s.hang, s.slow
	for _, t := range q.Tokens {
		s.asked = append(s.asked, t.Secret)
	}
	s.mu.Unlock()
	time.Sleep(slow)
	if hang {
		<-ctx.Done()
		return remote.Answer{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return remote.Answer{}, errors.New("connection refused")
	}
	a := remote.Answer{Index: s.index, Defaults: maps.Clone(s.defaults)}
	for _, t := range q.Tokens {
		switch h := s.tokens[t.Secret]; {
		case h == nil:
			a.Found = append(a.Found, remote.Found{Refused: "ACL not found"})
		case h.Key == t.Key:
			a.Found = append(a.Found, remote.Found{Same: true})
		default:
			a.Found = append(a.Found, remote.Found{Holder: h})
		}
	}
	return a, nil
}

func (s *servers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// inTime runs a test of a gate on a clock of its own. down is its down policy.
func inTime(t *testing.T, down remote.Down, do func(t *testing.T, s *servers, g *remote.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		tokens, err := access.NewAgentTokens(map[string]string{access.RecoveryToken: "rescue"}, "")
		if err != nil {
			t.Fatal(err)
		}
		g := remote.New(remote.Config{Node: "web1", Ask: s.ask, Tokens: tokens, Down: down})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { g.Run(ctx) })
		do(t, s, g)
		cancel()
		running.Wait()
	})
}

// writes reports whether the holder of a token may write a service. An error is that of the token.
func writes(g *remote.Gate, secret, service string) (bool, error) {
	who, err := g.Identify(secret)
	if err != nil {
		return false, err
	}
	return who.Allows(skerry.ResourceService, service, skerry.AccessWrite), nil
}

func want(t *testing.T, g *remote.Gate, secret, service string, want bool) {
	t.Helper()
	if got, err := writes(g, secret, service); err != nil || got != want {
		t.Errorf("%q writes %s: %v, %v, want %v", secret, service, got, err, want)
	}
}

func wantUnknown(t *testing.T, g *remote.Gate, secret string) {
	t.Helper()
	if who, err := g.Identify(secret); skerry.KindOf(err) != skerry.Denied || who != nil {
		t.Errorf("%q is %v, %v, want a refusal", secret, who, err)
	} else if strings.Contains(err.Error(), secret) {
		t.Errorf("the error names the secret: %v", err)
	}
}

func TestAnAnswerIsKept(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		for range 100 {
			want(t, g, "web", "web", true)
			want(t, g, "web", "db", false)
			want(t, g, "", "web", false)
		}
		wantUnknown(t, g, "nobody")
		wantUnknown(t, g, "nobody")
		if n := s.count(); n != 3 {
			t.Errorf("%d questions, want one for each token", n)
		}
		s.put("nobody", "writes web")
		wantUnknown(t, g, "nobody") // its server did not say yet that something changed
		time.Sleep(5 * time.Second)
		want(t, g, "nobody", "web", true)
		who, err := g.Identify("")
		if err != nil || !who.Anonymous() {
			t.Errorf("a request without a token: %v, %v", who, err)
		}
		who, err = g.Identify("rescue")
		if err != nil || !who.Allows(skerry.ResourceAgent, "web1", skerry.AccessWrite) || who.Allows(skerry.ResourceAgent, "web2", skerry.AccessWrite) {
			t.Errorf("the recovery token: %v, %v", who, err)
		}
	})
}

func TestEqualQuestionsAreOne(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		s.set(func() { s.slow = time.Second })
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { want(t, g, "web", "web", true) })
		}
		all.Wait()
		if n := s.count(); n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
	})
}

// A token in use is refreshed before its answer is old, so that no request waits. One that is not in use is not.
func TestTokensInUseAreAskedForAgain(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		s.put("idle", "writes web")
		want(t, g, "idle", "web", true)
		for range 120 {
			want(t, g, "web", "web", true)
			time.Sleep(time.Second)
		}
		s.mu.Lock()
		idle := 0
		for _, secret := range s.asked {
			if secret == "idle" {
				idle++
			}
		}
		if n := s.calls; n < 5 || n > 10 || idle > 2 {
			t.Errorf("%d questions in two minutes, %d about the token that is not in use", n, idle)
		}
		s.mu.Unlock()
	})
}

// A change at the servers holds at the agent within a second of the word about it, for tokens in use and for others.
func TestAChangeHoldsWithinASecond(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		s.put("idle", "writes web")
		want(t, g, "idle", "web", true)
		want(t, g, "web", "web", true)
		time.Sleep(10 * time.Second)
		want(t, g, "web", "web", true)
		changed := g.Changed()
		s.set(func() { delete(s.tokens, "idle") })
		s.put("web", "writes db")
		g.Moved(s.index)
		time.Sleep(600 * time.Millisecond)
		want(t, g, "web", "web", false)
		want(t, g, "web", "db", true)
		wantUnknown(t, g, "idle")
		select {
		case <-changed:
		default:
			t.Error("the change wakes no waiter")
		}
		calls := s.count()
		g.Moved(s.index)
		time.Sleep(5 * time.Second)
		if n := s.count(); n != calls {
			t.Errorf("%d questions though nothing moved", n-calls)
		}
	})
}

// A token that waits in a request, and is not used, is refused soon after its end, as the request looks at each
// change.
func TestATokenThatWaits(t *testing.T) {
	for _, lately := range []bool{false, true} { // it was used
		tokenWaits(t, lately)
	}
}

func tokenWaits(t *testing.T, lately bool) {
	t.Helper()
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		want(t, g, "web", "web", true)
		var refused time.Time
		var waiting sync.WaitGroup
		waiting.Go(func() {
			for {
				changed := g.Changed()
				if _, err := g.Identify("web"); err != nil {
					refused = time.Now()
					return
				}
				<-changed
			}
		})
		time.Sleep(5 * time.Minute)
		if lately {
			want(t, g, "web", "web", true)
		}
		s.set(func() { delete(s.tokens, "web") })
		ended := time.Now()
		g.Moved(s.index)
		waiting.Wait()
		if d := refused.Sub(ended); d > time.Second {
			t.Errorf("it is refused after %v", d)
		}
	})
}

// Under one change after the other the tokens in use are asked for four times a second, in one question.
func TestManyChangesCostOneQuestionEach(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		for n := range 300 {
			s.put(fmt.Sprint("t", n), "writes web")
		}
		for n := range 300 {
			want(t, g, fmt.Sprint("t", n), "web", true)
		}
		calls := s.count()
		for range 1000 {
			s.set(func() {})
			g.Moved(s.index)
			time.Sleep(10 * time.Millisecond)
		}
		if n := s.count() - calls; n < 60 || n > 90 { // 40 rounds of two questions
			t.Errorf("%d questions about 300 tokens in 10 s of changes", n)
		}
	})
}

// The answer about a token is young, and the token is not in use: the next request does not get the answer of before a
// change.
func TestATokenThatIsNotInUse(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		want(t, g, "web", "web", true)
		time.Sleep(45 * time.Second) // it was asked for again after 20 s, and not after 40
		s.set(func() { delete(s.tokens, "web") })
		g.Moved(s.index)
		time.Sleep(600 * time.Millisecond)
		wantUnknown(t, g, "web")
	})
}

// An answer of a server that has not heard of a change yet is asked for again.
func TestAServerThatIsBehind(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		want(t, g, "web", "web", true)
		g.Moved(s.index + 1) // the question comes to a server that does not know of it
		time.Sleep(600 * time.Millisecond)
		want(t, g, "web", "web", true)
		s.set(func() { delete(s.tokens, "web") })
		time.Sleep(600 * time.Millisecond)
		wantUnknown(t, g, "web")
	})
}

func TestAnExpiredTokenIsRefused(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		s.set(func() { s.tokens["web"].Expires = time.Now().Add(10 * time.Second) })
		want(t, g, "web", "web", true)
		s.set(func() { s.down = true })
		time.Sleep(11 * time.Second)
		wantUnknown(t, g, "web")
	})
}

// While no server answers, what was known is used however old. What is unknown has the access of names without a rule.
func TestExtendCache(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		want(t, g, "web", "web", true)
		s.set(func() { s.down = true })
		time.Sleep(24 * time.Hour)
		want(t, g, "web", "web", true)
		want(t, g, "web", "db", false)
		want(t, g, "new", "web", false)
		who, err := g.Identify("new")
		if err != nil || !strings.Contains(who.Accessor(), "no server") {
			t.Errorf("an unknown token: %v, %v", who, err)
		}
		calls := s.count()
		for range 1000 {
			want(t, g, "new", "web", false)
		}
		if n := s.count() - calls; n > 1 {
			t.Errorf("%d questions while no server answers", n)
		}
		s.set(func() { s.down = false; delete(s.tokens, "web") })
		time.Sleep(2 * time.Second)
		wantUnknown(t, g, "web")
		s.put("web", "writes web")
		g.Moved(s.index)
		want(t, g, "web", "web", true)
	})
}

func TestExtendCacheWithAnOpenDefault(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		s.set(func() { s.defaults = rules.Open })
		want(t, g, "", "web", true)
		s.set(func() { s.down = true })
		want(t, g, "new", "web", true)
	})
}

func TestOtherDownPolicies(t *testing.T) {
	for down, allowed := range map[remote.Down]bool{remote.Allow: true, remote.Deny: false} {
		inTime(t, down, func(t *testing.T, s *servers, g *remote.Gate) {
			want(t, g, "web", "web", true)
			s.set(func() { s.down = true })
			want(t, g, "web", "web", true) // its answer is good
			want(t, g, "new", "web", allowed)
			time.Sleep(31 * time.Second)
			want(t, g, "web", "web", allowed)
			want(t, g, "web", "db", allowed)
			if who, err := g.Identify("web"); err != nil || who.Allows(skerry.ResourceACL, "", skerry.AccessRead) {
				t.Errorf("%s: tokens can be looked at: %v", down, err)
			}
			s.set(func() { s.down = false })
			time.Sleep(2 * time.Second)
			want(t, g, "web", "web", true)
			want(t, g, "web", "db", false)
		})
	}
}

// A server that hangs delays no request of a token that was known.
func TestAServerThatHangs(t *testing.T) {
	for _, down := range []remote.Down{remote.ExtendCache, remote.AsyncCache} {
		inTime(t, down, func(t *testing.T, s *servers, g *remote.Gate) {
			want(t, g, "web", "web", true)
			s.set(func() { s.hang = true })
			waited := time.Duration(0)
			for range 300 {
				began := time.Now()
				want(t, g, "web", "web", true)
				waited += time.Since(began)
				time.Sleep(time.Second)
			}
			if waited > 2*time.Second {
				t.Errorf("%s: the requests of five minutes waited for %v", down, waited)
			}
			began := time.Now()
			want(t, g, "new", "web", false)
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("%s: an unknown token waits for %v", down, d)
			}
		})
	}
}

// A flood of tokens that are refused drives out none that is known.
func TestTheNumberOfTokensIsBounded(t *testing.T) {
	inTime(t, remote.ExtendCache, func(t *testing.T, s *servers, g *remote.Gate) {
		want(t, g, "web", "web", true)
		for n := range 10_500 {
			wantUnknown(t, g, fmt.Sprint("x", n, "x"))
			time.Sleep(100 * time.Microsecond)
		}
		s.set(func() { s.down = true })
		want(t, g, "web", "web", true)
	})
}
