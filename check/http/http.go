// Package http is the check that asks a URL: 2xx passes, 429 warns, anything else
// is critical.
package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// Headers of a probe unless the check's header replaces them.
const (
	userAgent = "Skerry Health Check"
	accept    = "text/plain, text/*, */*"
)

// Kind returns the row of the table.
func Kind() check.Kind {
	return check.Kind{
		Name:    "http",
		Matches: func(d *skerry.CheckDefinition) bool { return d.HTTP != "" },
		Timeout: 10 * time.Second,
		Peers:   func(d *skerry.CheckDefinition) []string { return []string{peer(d.HTTP)} },
		New:     func(d *skerry.CheckDefinition) (check.Prober, error) { return newProber(d), nil },
	}
}

// peer returns the host:port that a URL is asked of.
func peer(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

type prober struct {
	method, url, body string
	shown             string // the URL without its password
	header            http.Header
	client            *http.Client
	outputMax         int
}

func newProber(d *skerry.CheckDefinition) *prober {
	p := &prober{method: d.Method, url: d.HTTP, shown: d.HTTP, body: d.Body, outputMax: d.OutputMaxSize}
	if p.method == "" {
		p.method = http.MethodGet
	}
	if u, err := url.Parse(d.HTTP); err == nil && u.User != nil {
		p.shown = u.Redacted()
	}
	p.header = http.Header{"User-Agent": {userAgent}, "Accept": {accept}}
	for name, values := range d.Header {
		p.header[http.CanonicalHeaderKey(name)] = values
	}
	p.client = &http.Client{
		// No proxy: the check judges the service, not a way to it.
		Transport: &http.Transport{
			TLSClientConfig:        check.TLSConfig(d),
			DisableKeepAlives:      true, // an open connection proves less than a new one
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
	if d.DisableRedirects {
		p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return p
}

// Check implements [check.Prober].
func (p *prober) Check(ctx context.Context) check.Result {
	req, err := http.NewRequestWithContext(ctx, p.method, p.url, strings.NewReader(p.body))
	if err != nil {
		return check.Failed(err)
	}
	req.Header = p.header.Clone()
	if host := p.header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return check.Failed(err)
	}
	defer resp.Body.Close()

	out := fmt.Sprintf("HTTP %s %s: %s Output: %s", p.method, p.shown, resp.Status, p.read(resp))
	return check.Result{Status: status(resp.StatusCode), Output: out}
}

func status(code int) skerry.Health {
	switch {
	case code >= 200 && code <= 299:
		return skerry.Passing
	case code == http.StatusTooManyRequests:
		return skerry.Warning
	}
	return skerry.Critical
}

// read returns the beginning of the body. It reads no further than it shows: a
// body may be endless.
func (p *prober) read(resp *http.Response) string {
	kept := check.Capture{Max: p.outputMax}
	_, err := io.Copy(&kept, io.LimitReader(resp.Body, int64(p.outputMax)))
	if err != nil {
		return kept.String() + " (" + err.Error() + ")"
	}
	var more [1]byte
	if n, _ := io.ReadFull(resp.Body, more[:]); n == 0 {
		return kept.String()
	}
	if resp.ContentLength > 0 {
		return check.Captured(kept.String(), p.outputMax, resp.ContentLength)
	}
	return fmt.Sprintf("%s ... (captured the first %d bytes)", kept.String(), p.outputMax)
}
