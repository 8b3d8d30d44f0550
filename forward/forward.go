// Package forward passes HTTP requests on to one of the servers, for a process that is none itself.
package forward

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Config configures a [Forwarder].
type Config struct {
	Node string // of this process
	// Pick returns a server, and another than the ones in not if there is one. ok is false if none is
	// known.
	Pick func(not ...string) (name, address string, ok bool)
	// Transport carries the requests to an address, host:port.
	Transport  http.RoundTripper
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Forwarder lets servers answer requests.
type Forwarder struct {
	cfg      Config
	proxy    *httputil.ReverseProxy
	passed   *prometheus.CounterVec
	repeated prometheus.Counter
	epoch    epoch
}

const (
	// viaHeader lists the nodes that passed a request on.
	viaHeader = "X-Skerry-Via"
	maxVia    = 3
	// noServer is what Consul's agents answer when they know no server.
	noServer = "No known Consul servers"
)

// target is the server that a request goes to.
type target struct{ name, address string }

// passage is a request on its way.
type passage struct {
	to   target
	kept *kept // nil: it is not sent again
}

type passageKey struct{}

// New returns a forwarder.
func New(cfg Config) *Forwarder {
	f := &Forwarder{
		cfg: cfg,
		passed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_forward_requests_total", Help: "Requests that were sent to servers, DNS questions among them, by whether a server answered.",
		}, []string{"result"}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skerry_forward_repeated_total", Help: "Times that a written request was sent again, since a server did not answer it.",
		}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(f.passed, f.repeated)
	}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			to := passageOf(p.In).to
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", to.address, ""
			p.SetXForwarded()
			p.Out.Header.Set(viaHeader, strings.Join(append(p.In.Header.Values(viaHeader), cfg.Node), ", "))
			p.Out.Header.Del(requestHeader) // clients give none
		},
		Transport:     f,
		FlushInterval: -1, // events and blocking queries are answered in parts
		ErrorLog:      slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ErrorHandler:  f.failed,
	}
	return f
}

func passageOf(r *http.Request) *passage { return r.Context().Value(passageKey{}).(*passage) }

// Forward lets a server answer a request. A written one that may be repeated is sent again, under the
// same id, when a server did not answer it.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, repeat bool) {
	if via := strings.Join(r.Header.Values(viaHeader), ","); via != "" && strings.Count(via, ",")+1 >= maxVia {
		http.Error(w, "the request was passed on by "+via+": these processes are each other's servers; see retry_join", http.StatusLoopDetected)
		return
	}
	name, address, ok := f.cfg.Pick()
	if !ok {
		http.Error(w, noServer, http.StatusInternalServerError)
		return
	}
	p := &passage{to: target{name, address}}
	if repeat && !reads(r) {
		var err error
		if p.kept, err = keep(r); err != nil {
			http.Error(w, "the body of the request cannot be read: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	f.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), passageKey{}, p)))
}

// reads reports whether a request changes nothing.
func reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
}

var errNoServer = errors.New("the agent knows no server: see retry_join")

// maxAnswer bounds an answer to Ask, in bytes.
const maxAnswer = 8 << 20

// tokenHeader has the token of a request.
const tokenHeader = "X-Consul-Token"

// Ask posts a question to a server, and to another one if the first does not answer. The question
// changes nothing. token is that of the asker; empty: it is anonymous.
func (f *Forwarder) Ask(ctx context.Context, path, token string, body []byte) (answer []byte, err error) {
	var tried []string
	for range 2 {
		name, address, ok := f.cfg.Pick(tried...)
		if !ok {
			break
		}
		tried = append(tried, name)
		if answer, err = post(ctx, f.send, f.cfg.Node, address, path, token, body); err == nil || ctx.Err() != nil {
			return answer, err
		}
	}
	return nil, cmp.Or(err, errNoServer)
}

// Post posts a question of the process of a node to the server at an address, and returns its answer.
func Post(ctx context.Context, transport http.RoundTripper, node, address, path string, body []byte) ([]byte, error) {
	return post(ctx, transport.RoundTrip, node, address, path, "", body)
}

func post(ctx context.Context, send func(*http.Request) (*http.Response, error), node, address, path, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(viaHeader, node)
	if token != "" {
		req.Header.Set(tokenHeader, token)
	}
	resp, err := send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers with %d %s", address, resp.StatusCode, answer)
	}
	return answer, err
}

// From returns the node of the process that was asked for a request that was passed on; empty if it
// was not.
func From(r *http.Request) string {
	first, _, _ := strings.Cut(strings.Join(r.Header.Values(viaHeader), ","), ",")
	return strings.TrimSpace(first)
}

// Token returns the token of a question that was asked by [Forwarder.Ask].
func Token(r *http.Request) string { return r.Header.Get(tokenHeader) }

// failed answers a request that no server answered.
func (f *Forwarder) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client is gone
	}
	f.cfg.Log.Warn("no server answered a request that was passed on", "path", r.URL.Path, "error", err)
	http.Error(w, "rpc error making call: "+err.Error(), http.StatusInternalServerError)
}

var errNoOther = errors.New("no other server is known")

// RoundTrip implements [http.RoundTripper].
func (f *Forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	p := passageOf(r)
	if p.kept != nil {
		return f.repeat(r, p)
	}
	if r.Body != nil {
		r.Body = io.NopCloser(r.Body) // it is read by the next server, if this one was not reached
	}
	resp, err := f.send(r)
	if err == nil || r.Context().Err() != nil || !reads(r) && !unreached(err) {
		return resp, err
	}
	_, address, ok := f.cfg.Pick(p.to.name)
	if !ok {
		return nil, errors.Join(err, errNoOther)
	}
	again := r.Clone(r.Context())
	again.URL.Host = address
	return f.send(again)
}

// unreached reports whether a request failed before any of it was sent.
func unreached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// send sends a request to its server.
func (f *Forwarder) send(r *http.Request) (*http.Response, error) {
	resp, err := f.cfg.Transport.RoundTrip(r)
	result := "answered"
	if err != nil {
		result = "failed"
	}
	f.passed.WithLabelValues(result).Inc()
	return resp, err
}
