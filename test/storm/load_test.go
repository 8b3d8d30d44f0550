//go:build linux

package storm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// tenant is a program with a lease. It beats through the servers in turn, as behind a
// balancer, and puts its set again when a server asks for it.
type tenant struct {
	s           *storm
	id, service string
	site        []int // the servers that it asks
	from        int   // the number of the host that it runs on, from 1; 0: that of the server it asks, without a network between
	leaving     bool  // it came to leave

	mu    sync.Mutex
	state state
	port  int // of its newest set
	put   int // the port that a server acknowledged last

	digest string
	turn   int
}

// state is what a tenant does.
type state int

const (
	beating     state = iota
	withdrawing       // until a server says that it is gone
	gone              // withdrawn, or dead: it does nothing any more
)

// set changes what the tenant announces next.
func (n *tenant) set(port int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.port = port
}

func (n *tenant) become(s state) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == beating {
		n.state = s
	}
}

func (n *tenant) now() (s state, port, put int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state, n.port, n.put
}

// run beats until ctx ends, or the tenant is gone.
func (n *tenant) run(ctx context.Context) {
	// Not all at once.
	pause := rand.N(ttl / 4)
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = ttl/4 - rand.N(ttl/40)
		if !n.step(ctx) {
			pause = ttl / 30
		}
		if s, _, _ := n.now(); s == gone {
			return
		}
	}
}

// step tells one server what is to be told, the next one that answers if need be.
func (n *tenant) step(ctx context.Context) (told bool) {
	for range n.site {
		server := n.s.servers[n.site[n.turn%len(n.site)]].seenFrom(n.from)
		n.turn++
		if n.tell(ctx, server) == nil {
			return true
		}
	}
	return false
}

func (n *tenant) tell(ctx context.Context, server *server) error {
	state, port, put := n.now()
	began := time.Now()
	switch {
	case state == gone:
		return nil
	case state == withdrawing:
		n.s.record.leaves(n.id)
		var refused *refusal
		if err := server.ask(ctx, "DELETE", "/v1/skerry/owner/"+n.id, nil, nil); err != nil && !errors.As(err, &refused) {
			return err
		}
		// A server that does not know it, or cannot write, refuses. The lease ends by its TTL then.
		n.mu.Lock()
		n.state = gone
		n.mu.Unlock()
		return nil
	case port == put:
		var answer struct{ Answer string }
		if err := server.ask(ctx, "PUT", "/v1/skerry/owner/"+n.id+"/beat?digest="+n.digest, nil, &answer); err != nil {
			return err
		}
		if answer.Answer == "ok" {
			n.s.record.heard(n.id, server.n, began, time.Now())
			return nil
		}
	}
	var answer struct{ Digest string }
	body := map[string]any{
		"Address": "10.1.0.1", "TTL": ttl.String(), "Services": []any{map[string]any{"ID": n.id, "Name": n.service, "Port": port}},
	}
	began = time.Now()
	if err := server.ask(ctx, "PUT", "/v1/skerry/owner/"+n.id, body, &answer); err != nil {
		return err
	}
	n.s.record.heard(n.id, server.n, began, time.Now())
	n.digest = answer.Digest
	n.mu.Lock()
	n.put = port
	n.mu.Unlock()
	return nil
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprint(r.status, " ", r.text) }

// answerWithin is how long a client waits for a server before it goes to the next.
const answerWithin = time.Second

// ask makes a request to the process.
func (s *process) ask(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := s.exchange(ctx, method, path, body, into)
	return err
}

// exchange makes a request in the time of ctx, and returns the answer's header.
func (s *process) exchange(ctx context.Context, method, path string, body, into any) (http.Header, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if data, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s at %s: %w", method, path, s.name(), &refusal{resp.StatusCode, string(data)})
	}
	if into != nil {
		err = json.Unmarshal(data, into)
	}
	return resp.Header, err
}
