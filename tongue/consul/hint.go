package consul

import (
	"net"
	"net/http"
	"sync"
)

// getHint is the answer to an old client's GET that would change something.
const getHint = "GET changes nothing here, since a web page could send it; set legacy_api = true to allow it for old clients"

// maxHinted bounds the number of remembered clients.
const maxHinted = 1024

// hinted is the clients with a hint in the log, so that the log has a line for each client
// and not for each request.
type hinted struct {
	mu   sync.Mutex
	told map[string]bool
}

// first reports whether this is the first hint for a client. Beyond maxHinted, it is
// false for new clients.
func (h *hinted) first(client, of string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := client + " " + of
	if h.told[key] || len(h.told) >= maxHinted {
		return false
	}
	if h.told == nil {
		h.told = map[string]bool{}
	}
	h.told[key] = true
	return true
}

// hintInLog logs once for each client a hint for the operator.
func (q *request) hintInLog(of, message string) {
	client, _, err := net.SplitHostPort(q.r.RemoteAddr)
	if err != nil {
		client = "a unix socket"
	}
	if q.f.hinted.first(client, of) {
		q.f.cfg.Log.Warn(message, "client", client, "path", q.route.path, "agent", shortened(q.r.UserAgent()))
	}
}

// refuseMethod answers a method that an endpoint does not have.
func (q *request) refuseMethod() {
	text := "method " + q.r.Method + " not allowed"
	if q.route.legacyGet && !q.f.cfg.LegacyAPI && q.r.Method == http.MethodGet {
		text += " (" + getHint + ")"
		q.hintInLog("GET", "an old client's GET was refused, which would change something; set legacy_api = true to allow it")
	}
	q.text(http.StatusMethodNotAllowed, text)
}
