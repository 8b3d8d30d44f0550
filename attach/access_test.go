package attach_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// tokens say who may write what, and which token the agent sends.
type tokens struct {
	mu                 sync.Mutex
	index              uint64
	writesNode, writes string // the tokens that may
	node, service      string // the agent's
}

func (t *tokens) set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	t.index++
}

// Index implements registry.Judge.
func (t *tokens) Index() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.index
}

// MayWrite implements registry.Judge.
func (t *tokens) MayWrite(token string, r skerry.Resource, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r == skerry.ResourceNode && token == t.writesNode || r == skerry.ResourceService && token == t.writes {
		return nil
	}
	return skerry.Errorf(skerry.Denied, "a token lacks %s:write on %s", r, name)
}

func (t *tokens) grants(of []*skerry.Instance) *cluster.Grants {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := &cluster.Grants{Node: t.node, Instances: map[string]string{}}
	for _, i := range of {
		g.Instances[i.ID] = t.service
	}
	return g
}

func TestServicesAreShownWhileTheirTokensMayWriteThem(t *testing.T) {
	by := &tokens{writesNode: "agent's", writes: "other", node: "agent's", service: "secret"}
	runJudged(t, by, by.grants, func(w *world) {
		w.pass(time.Second)
		home, other := w.home()
		if w.port(home) != 0 || !w.a.State().Settled || w.a.Refused()["web"] == "" {
			t.Fatalf("port %d, %+v, refused %v", w.port(home), w.a.State(), w.a.Refused())
		}
		for range 3 {
			w.from.change(w.box)
			w.pass(time.Second)
		}
		if w.port(home) != 0 || !w.a.State().Settled {
			t.Errorf("after changes the server shows %d, %+v", w.port(home), w.a.State())
		}
		by.set(func() { by.writes = "secret" })
		w.pass(3 * time.Second)
		if w.port(home) != 4 || len(w.a.Refused()) != 0 {
			t.Errorf("with the right the server shows %d, refused %v", w.port(home), w.a.Refused())
		}
		w.from.change(w.box)
		w.pass(time.Second)
		if w.port(home) != 5 {
			t.Errorf("a later change shows %d", w.port(home))
		}
		// Another server judges by itself.
		w.servers[home].set(func() { w.servers[home].down = true })
		w.pass(4 * time.Second)
		if w.port(other) != 5 {
			t.Errorf("after a move the server shows %d", w.port(other))
		}
		by.set(func() { by.writes = "other" })
		w.pass(3 * time.Second)
		if w.port(other) != 0 || w.a.Refused()["web"] == "" {
			t.Errorf("without the right the server shows %d, refused %v", w.port(other), w.a.Refused())
		}
		// The agent gets a token that may.
		by.set(func() { by.service = "other" })
		w.a.Renew()
		w.pass(time.Second)
		w.from.change(w.box)
		w.pass(time.Second)
		if w.port(other) != 6 || !w.a.State().Settled {
			t.Errorf("with another token the server shows %d, %+v", w.port(other), w.a.State())
		}
		if log := w.log.String(); strings.Contains(log, "secret") || strings.Count(log, "the servers do not show a service") != 2 {
			t.Errorf("the log: %s", log)
		}
	})
}

// An agent whose token may not write its node is attached nowhere, says why, and asks again from time to time.
func TestAnAgentThatMayNotWriteItsNode(t *testing.T) {
	by := &tokens{writesNode: "right", writes: "secret", node: "wrong", service: "secret"}
	runJudged(t, by, by.grants, func(w *world) {
		w.pass(time.Minute)
		if s := w.a.State(); s.Server != "" || s.Settled || !strings.Contains(s.Barred, "node:write on web1") {
			t.Errorf("%+v", s)
		}
		for name, s := range w.servers {
			if s.dials < 8 || s.dials > 40 {
				t.Errorf("%s was dialled %d times in a minute", name, s.dials)
			}
		}
		if n := strings.Count(w.log.String(), "node:write on web1"); n != 2 {
			t.Errorf("the reason is logged %d times, want once for each server: %s", n, w.log.String())
		}
		by.set(func() { by.node = "right" })
		w.pass(10 * time.Second)
		home, _ := w.home()
		if w.port(home) != 1 || w.a.State().Barred != "" {
			t.Errorf("with the right token the server shows %d, %+v", w.port(home), w.a.State())
		}
		by.set(func() { by.writesNode = "none" })
		w.pass(10 * time.Second)
		if s := w.a.State(); s.Server != "" || w.port(home) != 0 {
			t.Errorf("after the loss of the right: %+v, the server shows %d", s, w.port(home))
		}
	})
}
