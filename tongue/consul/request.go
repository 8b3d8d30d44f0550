package consul

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// request is one request while its endpoint answers it.
type request struct {
	f     *front
	w     http.ResponseWriter
	r     *http.Request
	route *route
	rest  string // of the path, after a prefix route's
	p     params
	// resumed is whether the request was parked and its answer is due.
	resumed bool
	replays bool            // another attempt of the request was made, whose caller was identified
	age     time.Duration   // of the view in the answer
	stored  bool            // the answer is from the quorum store, else from the catalog
	fresh   bool            // the majority was asked whether the store's copy is up to date
	ago     time.Duration   // how old the store's copy was before it was read, at most
	known   bool            // whether a leader was known then
	who     skerry.Identity // nil: access is not controlled
	reader  uint64          // of a service, for drains; 0: the request reads none
}

func (q *request) serve() {
	rt := q.route
	switch {
	case q.r.Method == http.MethodOptions && !rt.anyMethod:
		q.allow()
		q.empty()
		return
	case !q.methodAllowed() && !rt.anyMethod:
		q.allow()
		q.refuseMethod()
		return
	case !q.f.writes.allows(q.r):
		q.text(http.StatusForbidden, "Access is restricted")
		return
	}
	for _, blocked := range q.f.cfg.Blocked {
		if strings.HasPrefix(q.r.URL.Path, blocked) {
			q.text(http.StatusForbidden, "Endpoint is blocked by agent configuration")
			return
		}
	}
	q.limitBody()
	if err := q.p.read(q.r); err != nil {
		q.fail(bare(err))
		return
	}
	if q.route.at == byFollower && q.f.b.Forward != nil && !q.followed() {
		clear(q.w.Header()) // a server sets them
		q.f.b.Forward.Forward(q.w, q.r, !q.route.single)
		return
	}
	if q.farAnswered() {
		return
	}
	q.mode()
	if err := q.attempt(); err != nil && !errors.Is(err, errParked) && !errors.Is(err, errAnswered) {
		q.fail(err)
	}
}

func (q *request) limitBody() {
	if q.r.Body != nil && q.r.Body != http.NoBody && !q.route.largeBody {
		q.r.Body = http.MaxBytesReader(q.w, q.r.Body, q.f.cfg.MaxBody)
	}
}

// run identifies the caller and calls the endpoint. After a parked wait it identifies the
// caller again, since a token may have ended meanwhile.
func (q *request) run() error {
	if err := q.identify(); err != nil {
		return err
	}
	if err := q.reaches(); err != nil {
		return err
	}
	if err := q.settle(); err != nil {
		return err
	}
	return q.route.do(q)
}

// settle makes a read of the catalog wait until the catalog can be answered from.
func (q *request) settle() error {
	if !q.route.discovery || q.r.Method != http.MethodGet {
		return nil
	}
	return skerry.Settle(q.r.Context(), q.f.b.Settled)
}

// mode applies the settings for ?cached and ?stale.
func (q *request) mode() {
	if q.f.cfg.NoCache {
		q.p.cached = false
	}
	if q.f.cfg.StaleDiscovery && !q.p.consistent && q.route.discovery {
		q.p.stale = true
	}
}

func (q *request) methodAllowed() bool {
	if slices.Contains(q.route.methods, q.r.Method) {
		return true
	}
	return q.r.Method == http.MethodGet && q.route.legacyGet && q.f.cfg.LegacyAPI
}

func (q *request) allow() {
	q.w.Header()["Allow"] = []string{"OPTIONS," + strings.Join(q.route.methods, ",")}
	if q.route.legacyGet && !q.f.cfg.LegacyAPI && q.r.Method == http.MethodGet {
		q.w.Header().Set("X-Skerry-Hint", getHint)
	}
}

// cleanPath returns the path as it was sent without "//", "/./" and "/../", and
// whether it was clean already. Escaped slashes and dots are part of a name: a key
// may begin with "/".
func cleanPath(u *url.URL) (string, bool) {
	if !strings.Contains(u.Path, "//") && !strings.Contains(u.Path, "/.") {
		return "", true
	}
	sent := u.EscapedPath()
	clean := path.Clean("/" + sent)
	if strings.HasSuffix(sent, "/") && clean != "/" {
		clean += "/"
	}
	return clean, clean == sent
}

// redirect sends the client to another path, which is escaped.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, to, http.StatusTemporaryRedirect)
}

// writeGate is the networks whose clients may use other methods than GET and OPTIONS.
type writeGate []netip.Prefix

func newWriteGate(networks []string) (writeGate, error) {
	var g writeGate
	for _, n := range networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return nil, fmt.Errorf("http_config.allow_write_http_from: %q is not a network like 10.0.0.0/8", n)
		}
		g = append(g, p)
	}
	return g, nil
}

func (g writeGate) allows(r *http.Request) bool {
	if len(g) == 0 || r.Method == http.MethodGet || r.Method == http.MethodOptions {
		return true
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return true // a unix socket
	}
	for _, p := range g {
		if p.Contains(addr.Addr().Unmap()) {
			return true
		}
	}
	return false
}
