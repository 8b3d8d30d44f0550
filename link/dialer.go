package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/skerryhq/skerry/mixed"
)

// Dialer opens streams to servers.
type Dialer struct {
	node, datacenter string // the datacenter of a dialer to others; else empty
	within, answers  time.Duration
	secure           *tls.Config
	mix              *mixed.Dialer // in place of secure; nil: all connections are of one kind
	client           *http.Client
	requests         *http.Transport
}

const (
	dialWithin = time.Second
	// farWithin is dialWithin and answersWithin to another datacenter: a handshake takes three round trips.
	farWithin = 3 * time.Second
	// requestQuiet is after which silence of a connection for requests the other side is asked
	// whether it lives, and answersWithin is how long it has for the answer.
	requestQuiet  = 500 * time.Millisecond
	answersWithin = time.Second
	// requestIdle is how long a connection without requests is kept.
	requestIdle = 30 * time.Second
)

// http1 is the protocol of introductions and streams, as TLS has it.
const http1 = "http/1.1"

// NewDialer returns a dialer for the process of a node. secure is the TLS of its connections; nil: they are plain.
func NewDialer(node string, secure *tls.Config) *Dialer {
	return newDialer(node, "", secure, dialWithin, answersWithin)
}

// NewFarDialer returns a dialer to servers of other datacenters, for a server of a datacenter. It opens streams of kinds that are Far.
func NewFarDialer(node, datacenter string, secure *tls.Config) *Dialer {
	return newDialer(node, datacenter, secure, farWithin, farWithin)
}

func newDialer(node, datacenter string, secure *tls.Config, within, answers time.Duration) *Dialer {
	d := &Dialer{node: node, datacenter: datacenter, within: within, answers: answers, secure: secure}
	d.client, d.requests = d.newClient(), d.transport(requestQuiet)
	return d
}

// Mixed makes the connections of the dialer with TLS or plain, as the other sides take them. secure returns the TLS, and nil while this process
// has no certificate. It is called before all else.
func (d *Dialer) Mixed(secure func() *tls.Config) {
	d.secure, d.mix = nil, mixed.NewDialer(secure, d.within)
	d.client, d.requests = d.newClient(), d.transport(requestQuiet)
}

// ClosePlain closes the connections without TLS of a dialer of [Dialer.Mixed], so that the next ones are with it where the other sides
// take it.
func (d *Dialer) ClosePlain() {
	if d.mix != nil {
		d.mix.ClosePlain()
	}
}

// transport returns what carries requests over HTTP/2.
func (d *Dialer) transport(quiet time.Duration) *http.Transport {
	var p http.Protocols
	p.SetUnencryptedHTTP2(d.secure == nil)
	p.SetHTTP2(d.encrypts())
	return &http.Transport{
		Protocols: &p, MaxResponseHeaderBytes: 1 << 20, DialContext: (&net.Dialer{Timeout: d.within}).DialContext, IdleConnTimeout: requestIdle,
		TLSClientConfig: d.secure.Clone(), TLSHandshakeTimeout: d.within, // a transport adds its protocols to it
		DialTLSContext: d.dialTLS("h2"),
		HTTP2:          &http.HTTP2Config{SendPingTimeout: quiet, PingTimeout: d.answers},
	}
}

// dialTLS returns how a transport makes mixed connections; nil: as it makes others by itself.
func (d *Dialer) dialTLS(protocol string) func(ctx context.Context, network, address string) (net.Conn, error) {
	if d.mix == nil {
		return nil
	}
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		return d.mix.Dial(ctx, address, protocol)
	}
}

// encrypts reports whether connections may be encrypted.
func (d *Dialer) encrypts() bool { return d.secure != nil || d.mix != nil }

func (d *Dialer) scheme() string {
	if d.encrypts() {
		return "https://"
	}
	return "http://"
}

// RoundTripper returns what carries HTTP requests to servers, over connections of their own: a
// large answer holds up no stream. It sets the scheme of the requests.
func (d *Dialer) RoundTripper() http.RoundTripper {
	if !d.encrypts() {
		return d.requests
	}
	return encrypted{d.requests}
}

// encrypted sends requests over TLS.
type encrypted struct{ to *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (e encrypted) RoundTrip(r *http.Request) (*http.Response, error) {
	u := *r.URL
	u.Scheme = "https"
	r = r.WithContext(r.Context()) // a copy: a round tripper must not change the request
	r.URL = &u
	return e.to.RoundTrip(r)
}

// Close closes the connections without a stream.
func (d *Dialer) Close() { d.requests.CloseIdleConnections() }

// Dial opens a stream to the server at address, host:port. It takes 1 s at most, and 3 s to another datacenter. The stream ends
// with ctx.
func (d *Dialer) Dial(ctx context.Context, address string, kind Kind) (*Stream, error) {
	s, err := d.upgrade(ctx, address, kind)
	if errors.Is(err, errHTTP2) {
		return d.dialHTTP2(ctx, address, kind)
	}
	return s, err
}

// errHTTP2: the server takes streams over HTTP/2 alone.
var errHTTP2 = errors.New("a stream needs HTTP/2")

// refusal returns the error of an answer without a stream.
func refusal(address string, resp *http.Response) error {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusHTTPVersionNotSupported {
		return errHTTP2
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return fmt.Errorf("%s refuses: %d %s", address, resp.StatusCode, text)
}

// sign names this process in a request for a stream.
func (d *Dialer) sign(req *http.Request) {
	req.Header.Set(nodeHeader, d.node)
	if d.datacenter != "" {
		req.Header.Set(datacenterHeader, d.datacenter)
	}
}

// upgrade opens a stream over a connection of its own.
func (d *Dialer) upgrade(ctx context.Context, address string, kind Kind) (*Stream, error) {
	late, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	req, err := http.NewRequestWithContext(late, http.MethodPost, d.scheme()+address+kind.path(), nil)
	if err != nil {
		return nil, fmt.Errorf("%q is no address: %w", address, err)
	}
	d.sign(req)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	conn, err := d.connect(late, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(late, func() { sever(conn) })
	in := bufio.NewReader(conn)
	resp, err := ask(conn, in, req)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = refusal(address, resp)
	}
	if !stop() {
		err = errors.Join(context.Cause(late), err)
	}
	if err != nil {
		sever(conn)
		return nil, err
	}
	ctx, ended := context.WithCancel(ctx)
	s := newWire(conn, in, d.answers, ended)
	s.Node = resp.Header.Get(nodeHeader)
	context.AfterFunc(ctx, s.Close)
	return s, nil
}

// ask sends a request and returns its answer.
func ask(conn net.Conn, in *bufio.Reader, req *http.Request) (*http.Response, error) {
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(in, req)
}

// connect opens a connection that speaks HTTP/1.1.
func (d *Dialer) connect(ctx context.Context, address string) (net.Conn, error) {
	if d.mix != nil {
		return d.mix.Dial(ctx, address, http1)
	}
	var dialer net.Dialer
	if d.secure == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	secure := d.secure.Clone()
	secure.NextProtos = []string{http1}
	return (&tls.Dialer{NetDialer: &dialer, Config: secure}).DialContext(ctx, "tcp", address)
}
