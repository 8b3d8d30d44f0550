package consul

import (
	"net"
	"net/http"
	"sync"
)

// getHint tells an old client why its GET changes nothing, and what to set.
const getHint = "GET changes nothing here, since a web page could send it; set legacy_api = true to allow it for old clients"

// errScript refuses old Consul's line for the shell. Configuration files get the same word.
var errScript = badRequest(`Request decode failed: json: unknown field "Script" (old Consul's form; set legacy_api = true to allow it, or use Args)`)

// maxHinted bounds how many clients are remembered that were told of something.
const maxHinted = 1024

// hinted is the clients that were told, so that the log has a line for each client and
// not for each request.
type hinted struct {
	mu   sync.Mutex
	told map[string]bool
}

// first reports whether a client has not been told of this. Beyond maxHinted, no
// new client is.
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

// hintInLog says once per client what the operator can set for it.
func (q *request) hintInLog(of, message string) {
	client, _, err := net.SplitHostPort(q.r.RemoteAddr)
	if err != nil {
		client = "a unix socket"
	}
	if q.t.hinted.first(client, of) {
		q.t.cfg.Log.Warn(message, "client", client, "path", q.route.path, "agent", shortened(q.r.UserAgent()))
	}
}

// refuseMethod answers a method that an endpoint does not have.
func (q *request) refuseMethod() {
	text := "method " + q.r.Method + " not allowed"
	if q.route.legacyGet && !q.t.cfg.LegacyAPI && q.r.Method == http.MethodGet {
		text += " (" + getHint + ")"
		q.hintInLog("GET", "an old client's GET was refused, which would change something; set legacy_api = true to allow it")
	}
	q.text(http.StatusMethodNotAllowed, text)
}
