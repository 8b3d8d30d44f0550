package consul

import (
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"strings"
)

// cleanPath returns the path without "//", "/./" and "/../", and whether it was
// clean already.
func cleanPath(p string) (string, bool) {
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p, true
	}
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean, clean == p
}

func redirect(w http.ResponseWriter, r *http.Request, to string) {
	u := *r.URL
	u.Path, u.RawPath = to, ""
	http.Redirect(w, r, u.RequestURI(), http.StatusTemporaryRedirect)
}

// writeGate says which clients may use other methods than GET and OPTIONS.
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
