package consul

import "sync"

// asked remembers which paths came with ?cached before. Everything is answered
// from memory that is never stale; only the headers tell a first answer from a
// later one, as clients expect.
type asked struct {
	mu    sync.Mutex
	paths map[string]bool
}

// maxAsked bounds what is remembered; paths beyond it are first answers always.
const maxAsked = 10_000

func (a *asked) before(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paths[path] {
		return true
	}
	if a.paths == nil {
		a.paths = map[string]bool{}
	}
	if len(a.paths) < maxAsked {
		a.paths[path] = true
	}
	return false
}

func (q *request) cached() {
	h := q.w.Header()
	if q.t.asked.before(q.r.URL.Path) {
		h["X-Cache"] = []string{"HIT"}
		h["Age"] = zero
	} else {
		h["X-Cache"] = []string{"MISS"}
	}
}
