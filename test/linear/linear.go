// Package linear records what clients see of the key/value store, and judges whether
// clients that took turns could have seen it: of one register, one lock, one pair of keys.
package linear

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Action is one call of a client.
type Action struct {
	Kind string // get, put, cas, delete, acquire, release, destroy, pair, pairs
	Key  string
	New  string // the value written, or the session
	Old  string // cas: the value whose index was given
}

// Answer is what a call returned. A lost one leaves open whether the call had an effect.
type Answer struct {
	Value  string
	Done   bool
	Lost   bool
	Unsent bool // it had none: the connection was refused
}

// Failed is the answer of a call that returned err. The word of a process that was itself refused a connection, in an answer of its
// own, is no proof that nothing was sent before.
func Failed(err error) Answer {
	return Answer{Lost: err != nil, Unsent: errors.Is(err, syscall.ECONNREFUSED)}
}

// History records what clients do. All methods may be called at once.
type History struct {
	mu  sync.Mutex
	ops []porcupine.Operation
	t0  time.Time
}

// NewHistory returns a history that begins now.
func NewHistory() *History { return &History{t0: time.Now()} }

// Len is the number of calls.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// Do makes a call and notes it, once for each key that it concerns.
func (h *History) Do(client int, call func() Answer, as ...Action) Answer {
	began := time.Since(h.t0).Nanoseconds()
	out := call()
	ended := time.Since(h.t0).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	if out.Unsent {
		return out
	}
	for _, a := range as {
		if out.Lost {
			if a.Kind == "get" || a.Kind == "pairs" {
				continue // a read without an answer says nothing
			}
			ended = 1 << 60 // it may have its effect at any time
		}
		h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: a, Output: out, Call: began, Return: ended})
	}
	return out
}

// byKey are the histories of the single keys.
func (h *History) byKey() map[string][]porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string][]porcupine.Operation{}
	seen := map[string]bool{}
	for _, op := range h.ops {
		if a := op.Input.(Action); a.Kind == "pairs" {
			seen[a.Key+" "+op.Output.(Answer).Value] = true
		}
	}
	for _, op := range h.ops {
		a := op.Input.(Action)
		if a.Kind == "pair" && op.Output.(Answer).Lost && !seen[a.Key+" "+a.New] {
			continue // no read has seen it: it may as well never have been
		}
		out[a.Key] = append(out[a.Key], op)
	}
	return out
}

// model is one register, or one lock: its state is a value, or the holder.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		is, a, got := state.(string), input.(Action), output.(Answer)
		// told reports whether the client may have been told that its condition held.
		told := func(held bool, next string) (bool, any) {
			if held {
				return got.Lost || got.Done, next
			}
			return got.Lost || !got.Done, is
		}
		switch a.Kind {
		case "get", "pairs":
			return got.Value == is, is
		case "put", "pair":
			return true, a.New
		case "delete":
			return true, ""
		case "cas":
			return told(is == a.Old, a.New)
		case "acquire":
			return told(is == "" || is == a.New, a.New)
		case "release":
			return told(is == a.New, "")
		default: // destroy
			if is == a.New {
				is = ""
			}
			return true, is
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// Judge fails for each key whose history is none that turns could have given.
func (h *History) Judge(t testing.TB) {
	t.Helper()
	for key, ops := range h.byKey() {
		result, info := porcupine.CheckOperationsVerbose(model, ops, time.Minute)
		if result == porcupine.Ok {
			continue
		}
		path := filepath.Join(t.ArtifactDir(), strings.ReplaceAll(key, "/", "-")+".html")
		if err := porcupine.VisualizePath(model, info, path); err != nil {
			path = err.Error()
		}
		t.Errorf("the history of %s, of %d calls, is %v: %s", key, len(ops), result, path)
	}
}
