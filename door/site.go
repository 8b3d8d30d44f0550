// Package door has the listeners, the limits and the request rules in front of the
// front-ends, for every protocol and endpoint. DESIGN.md has the rules.
package door

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Hosts are the host names that a browser may use for this process, besides addresses and
// localhost. Names are compared without case.
type Hosts struct {
	Node    string   // the node's name
	Zones   []string // of DNS: names below them are ours
	Allowed []string // http_config.allowed_hosts; "*.example.com" is all names below example.com
}

// Site keeps web pages of other sites from using the API through a visitor's browser.
// A program may send any Host, since it may use a DNS name that the configuration does
// not know.
//
// Two attacks are refused with 403. In the first, a page of another site sends a request
// that changes something; it is detected by its Origin. In the second, a page's own name
// resolves to our address (DNS rebinding), so that our answers count as the page's; it is
// detected by its Host.
type Site struct {
	hosts       atomic.Pointer[Hosts]
	certificate func() []string // names in the present certificate; nil without one
	refused     *prometheus.CounterVec
	log         *slog.Logger
	seldom      rate.Sometimes
}

// NewSite returns a Site that allows only addresses and localhost until Set is called.
func NewSite(reg prometheus.Registerer, log *slog.Logger) *Site {
	s := &Site{log: log, seldom: rate.Sometimes{Interval: 10 * time.Second}}
	s.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_http_cross_site_refused_total", Help: "Requests of web pages of other sites that were refused, by the header: origin or host.",
	}, []string{"reason"})
	reg.MustRegister(s.refused)
	s.Set(Hosts{})
	return s
}

// Set replaces the names.
func (s *Site) Set(h Hosts) { s.hosts.Store(&h) }

// certify adds the names of a certificate to those of [Site.Set]. It must be called before
// the first request.
func (s *Site) certify(names func() []string) { s.certificate = names }

// Guard returns a handler that refuses requests of other sites' pages and passes the rest
// to next. changes reports whether a GET changes something.
func (s *Site) Guard(next http.Handler, changes func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromBrowser(r) || s.admits(w, r, changes) {
			next.ServeHTTP(w, r)
		}
	})
}

// admits reports whether a browser's request may pass. If not, it has answered.
func (s *Site) admits(w http.ResponseWriter, r *http.Request, changes func(*http.Request) bool) bool {
	h := s.hosts.Load()
	if !h.ours(r.Host) && (s.certificate == nil || !matchesAny(s.certificate(), hostname(r.Host))) {
		s.refuse(w, r, "host", fmt.Sprintf("Host %.100q is no name of this agent for a browser: use an address, localhost, the node's name, "+
			"a name in its DNS zone or its certificate, or add the host to http_config.allowed_hosts", r.Host))
		return false
	}
	if foreign := h.foreign(r, changes(r)); foreign != "" {
		s.refuse(w, r, "origin", fmt.Sprintf("A page of %.100q may not change anything here: add its host to http_config.allowed_hosts if it may", foreign))
		return false
	}
	return true
}

func (s *Site) refuse(w http.ResponseWriter, r *http.Request, reason, text string) {
	s.refused.WithLabelValues(reason).Inc()
	s.seldom.Do(func() {
		s.log.Warn("a web page's request was refused", "reason", reason, "host", bounded(r.Host), "origin", bounded(r.Header.Get("Origin")), "client", r.RemoteAddr)
	})
	http.Error(w, text, http.StatusForbidden)
}

func bounded(s string) string { return s[:min(len(s), 100)] }

// fromBrowser reports whether the request has a header that browsers send and programs
// rarely do.
func fromBrowser(r *http.Request) bool {
	h := r.Header
	for _, key := range [...]string{"Origin", "Referer", "Cookie", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User"} {
		if h[key] != nil {
			return true
		}
	}
	agent := h["User-Agent"]
	return len(agent) > 0 && strings.HasPrefix(agent[0], "Mozilla/")
}

// ours reports whether a Host header names this process.
func (h *Hosts) ours(host string) bool {
	name := hostname(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || name != "" && name == strings.ToLower(h.Node) {
		return true
	}
	for _, zone := range h.Zones {
		zone = strings.ToLower(strings.Trim(zone, "."))
		if zone != "" && (name == zone || strings.HasSuffix(name, "."+zone)) {
			return true
		}
	}
	return h.allows(name)
}

func (h *Hosts) allows(name string) bool { return matchesAny(h.Allowed, name) }

// matchesAny reports whether a pattern is the name, or "*." and the name without its
// first label.
func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		p = strings.ToLower(strings.TrimSuffix(p, "."))
		if p == name {
			return name != ""
		}
		if below, ok := strings.CutPrefix(p, "*."); ok && below != "" && strings.HasSuffix(name, "."+below) {
			return true
		}
	}
	return false
}

// foreign returns the site whose page sent a request that changes something, or "" if
// the site is ours or allowed.
func (h *Hosts) foreign(r *http.Request, changes bool) string {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if safe && !changes {
		return ""
	}
	for _, key := range [...]string{"Origin", "Referer"} {
		from := r.Header.Get(key)
		if from == "" {
			continue
		}
		u, err := url.Parse(from)
		if err == nil && u.Host != "" && (strings.EqualFold(u.Host, r.Host) || h.allows(hostname(u.Host))) {
			return ""
		}
		return from
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "same-origin" || site == "none":
		return ""
	case site != "" || safe:
		// A page can leave out both headers, but not hide that a browser sends a GET.
		return "an unnamed site"
	}
	return ""
}

// hostname returns a host without its port, in lower case and without a last dot.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
