// Package skerryhttp calls services by name over HTTP, and serves them so that a
// restart fails no call.
//
//	c, err := client.Open("skerry://127.0.0.1:8500")
//	hc := &http.Client{Transport: skerryhttp.NewTransport(c)}
//	resp, err := hc.Get("http://orders/v1/orders/17")
//
// A host without a dot and a port is a service's name, as is every host of a URL with
// the scheme skerry; all others are called as usual.
package skerryhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/lb"
)

// ErrNoInstances is what calls to a service without instances fail with.
var ErrNoInstances = errors.New("skerryhttp: the service has no instances")

// Transport is an [http.RoundTripper] that finds and balances services. It is safe for
// concurrent use.
type Transport struct {
	c     *client.Client
	o     options
	began time.Time // where the pickers' clock began

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	services map[string]*service
}

// Option configures a Transport.
type Option func(*options)

type options struct {
	base      *http.Transport
	isService func(host string) bool
	health    string
	hedge     time.Duration
	lb        lb.Options
	scheme    string
}

// WithBase sets what sends the requests; default: a clone of [http.DefaultTransport]
// with 64 idle connections for each instance, and no proxy.
func WithBase(base *http.Transport) Option { return func(o *options) { o.base = base } }

// WithServices sets which hosts are names of services; default: those without a dot and
// a port, but for localhost. URLs with the scheme skerry are not asked for.
func WithServices(is func(host string) bool) Option { return func(o *options) { o.isService = is } }

// WithHealthPath sets a path that answers 200 while an instance is well: instances that
// failed are probed by it. Without it, calls that may be repeated try them again.
func WithHealthPath(path string) Option { return func(o *options) { o.health = path } }

// WithBalancer sets the picker's options.
func WithBalancer(b lb.Options) Option { return func(o *options) { o.lb = b } }

// WithHedging sends a call that may be repeated to a second instance too when the first
// has not begun to answer after this time, which had better be about the 95th
// percentile of the latency; the first answer counts. At most a twentieth of the calls
// are hedged.
func WithHedging(after time.Duration) Option { return func(o *options) { o.hedge = after } }

// WithTLS calls services by HTTPS.
func WithTLS() Option { return func(o *options) { o.scheme = "https" } }

// NewTransport returns a transport that finds services through a client.
func NewTransport(c *client.Client, opts ...Option) *Transport {
	t := &Transport{c: c, began: time.Now(), services: map[string]*service{}}
	t.o = options{isService: plainName, scheme: "http"}
	for _, opt := range opts {
		opt(&t.o)
	}
	if t.o.base == nil {
		t.o.base = http.DefaultTransport.(*http.Transport).Clone()
		t.o.base.Proxy = nil
		t.o.base.MaxIdleConns = 0
		t.o.base.MaxIdleConnsPerHost = 64
		t.o.base.DialContext = (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 10 * time.Second}).DialContext
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

func plainName(host string) bool {
	return !strings.ContainsAny(host, ".:[") && host != "localhost"
}

// Close ends the following of services and closes idle connections. Calls fail then.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.done.Wait()
	t.o.base.CloseIdleConnections()
	return nil
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] do so.
func (t *Transport) CloseIdleConnections() { t.o.base.CloseIdleConnections() }

// now is the pickers' clock.
func (t *Transport) now() time.Duration { return time.Since(t.began) }

// attempts is how often a call that may be repeated is sent at most.
const attempts = 2

// RoundTrip implements [http.RoundTripper]. A call to a service waits for its first
// list as long as the request's context lets it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "skerry" && !t.o.isService(req.URL.Host) {
		return t.o.base.RoundTrip(req)
	}
	s, err := t.service(req.URL.Host)
	if err == nil {
		err = s.wait(req.Context())
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	s.retries.Earn()
	c := &calling{t: t, s: s, repeatable: repeats(req)}
	if t.o.hedge > 0 && c.repeatable && req.Header.Get("Upgrade") == "" {
		return c.hedged(req)
	}
	return c.send(req, false)
}

// calling is a call on its way, over all that is sent for it.
type calling struct {
	t          *Transport
	s          *service
	repeatable bool

	mu    sync.Mutex
	tried []string // the instances that it has been sent to
}

// pick returns an instance that has not been tried; again is false for the first.
func (c *calling) pick(ctx context.Context) (call *lb.Call, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call = c.s.pick(ctx, slices.Clip(c.tried), c.repeatable); call == nil {
		return nil, false
	}
	again = len(c.tried) > 0
	c.tried = append(c.tried, call.Node.Key)
	return call, again
}

// send sends the request, twice at most. Its body has been sent before if reread.
func (c *calling) send(req *http.Request, reread bool) (*http.Response, error) {
	for n := 1; ; n++ {
		call, again := c.pick(req.Context())
		if call == nil {
			closeBody(req)
			return nil, fmt.Errorf("%w: %s", ErrNoInstances, c.s.state())
		}
		resp, err := c.t.send(req, call, again || reread)
		if err == nil {
			return resp, nil
		}
		again = n < attempts && req.Context().Err() == nil && (c.repeatable || unsent(err) && replays(req))
		if !again || !c.s.retries.Spend() {
			return nil, err
		}
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// send sends the request to the chosen instance.
func (t *Transport) send(req *http.Request, call *lb.Call, again bool) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host = t.o.scheme, call.Node.Value.(string)
	if out.Host == "" || out.Host == req.URL.Host {
		out.Host = req.URL.Host
	}
	if again && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			call.Done(t.now(), lb.Neutral)
			return nil, err
		}
		out.Body = body
	}
	resp, err := t.o.base.RoundTrip(out)
	if err != nil {
		result := lb.Failed
		if errors.Is(req.Context().Err(), context.Canceled) {
			result = lb.Neutral
		}
		call.Done(t.now(), result)
		return nil, err
	}
	resp.Request = req
	resp.Body = &body{ReadCloser: resp.Body, done: func(failed bool) {
		result := classify(resp)
		if failed && req.Context().Err() == nil {
			result = lb.Failed
		}
		call.Done(t.now(), result)
	}}
	return resp, nil
}

// classify returns the meaning of an answer for the instance.
func classify(resp *http.Response) lb.Result {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return lb.Pushback
	case http.StatusServiceUnavailable:
		if resp.Header.Get("Retry-After") != "" {
			return lb.Pushback
		}
		return lb.Failed
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return lb.Failed
	case http.StatusNotFound, http.StatusNotImplemented:
		return lb.Neutral
	}
	return lb.OK
}

// repeats reports whether the request may be sent twice: its method is idempotent, or
// its sender says so, and its body can be had again.
func repeats(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
	default:
		if req.Header.Get("Idempotency-Key") == "" {
			return false
		}
	}
	return replays(req)
}

func replays(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// unsent reports whether the request cannot have reached anybody.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
