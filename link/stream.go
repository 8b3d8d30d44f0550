package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	streamPath = "/v1/skerry/link/stream"
	// nodeHeader names the node of the process that opens a stream, and datacenterHeader its datacenter where that is
	// another than the listener's.
	nodeHeader       = "Skerry-Node"
	datacenterHeader = "Skerry-Datacenter"
	// MaxFrame bounds a frame of a stream, in bytes.
	MaxFrame = 16 << 20
	// sendWithin bounds the sending of a frame: the other side stands still beyond it.
	sendWithin = 5 * time.Second
	// keptFrame is the size up to which the memory of a frame is kept for the next.
	keptFrame = 16 << 10
	maxName   = 255
)

// Kind is a kind of streams. A server has a function for each.
type Kind struct {
	Name string
	// Bulk: its frames may be large. They share a connection with requests, so that they hold up no other stream.
	Bulk bool
	// Far: servers of other datacenters may open it, too. Nothing else of a datacenter is open to them.
	Far bool
}

func (k Kind) path() string { return streamPath + "/" + k.Name }

// Stream carries frames both ways between a process and a server, each way in their order.
type Stream struct {
	// Node is the name of the node at the other end, and Datacenter its datacenter; empty: that of the listener.
	Node, Datacenter string

	in     *bufio.Reader
	out    io.Writer
	flush  func() error
	expire func(time.Duration) (stop func() bool)
	close  func()

	mu      sync.Mutex // one frame is sent at a time
	sending []byte     // the last frame that was not large, for the next one
}

// Send sends a frame. It blocks for 5 s at most, and the stream ends after an error.
func (s *Stream) Send(frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("a frame of %d bytes is larger than %d", len(frame), MaxFrame)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.expire(sendWithin)()
	out := append(binary.BigEndian.AppendUint32(s.sending[:0], uint32(len(frame))), frame...)
	if len(out) <= keptFrame {
		s.sending = out
	}
	if _, err := s.out.Write(out); err != nil {
		return err
	}
	return s.flush()
}

// Receive returns the next frame. It is an error of [io.EOF] after the other side closed the stream.
func (s *Stream) Receive() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(s.in, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > MaxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is larger than %d", n, MaxFrame)
	}
	var frame bytes.Buffer // it grows with the bytes that came, not by the length that was claimed
	if _, err := io.CopyN(&frame, s.in, int64(n)); err != nil {
		return nil, err
	}
	return frame.Bytes(), nil
}

// Close ends the stream at the side that opened it: calls of Send and Receive return. At a server a stream
// ends when its function of [Config.Streams] returns.
func (s *Stream) Close() { s.close() }

// Dialer opens streams to servers.
type Dialer struct {
	node, datacenter    string // the datacenter of a dialer to others; else empty
	within              time.Duration
	secure              bool
	client              *http.Client
	transport, requests *http.Transport
}

const (
	dialWithin = time.Second
	// farWithin is dialWithin and answersWithin to another datacenter: a handshake takes three round trips.
	farWithin = 3 * time.Second
	// streamQuiet and requestQuiet are after which silence of a connection the other side is asked
	// whether it lives, and answersWithin is how long it has for the answer.
	streamQuiet   = time.Second
	requestQuiet  = 500 * time.Millisecond
	answersWithin = time.Second
)

// NewDialer returns a dialer for the process of a node. secure is the TLS of its connections; nil: they are plain.
func NewDialer(node string, secure *tls.Config) *Dialer {
	return newDialer(node, "", secure, dialWithin, answersWithin)
}

// NewFarDialer returns a dialer to servers of other datacenters, for a server of a datacenter. It opens streams of kinds that are Far.
func NewFarDialer(node, datacenter string, secure *tls.Config) *Dialer {
	return newDialer(node, datacenter, secure, farWithin, farWithin)
}

func newDialer(node, datacenter string, secure *tls.Config, within, answers time.Duration) *Dialer {
	return &Dialer{
		node: node, datacenter: datacenter, within: within, secure: secure != nil, client: newClient(secure, within),
		transport: transport(streamQuiet, secure, within, answers), requests: transport(requestQuiet, secure, within, answers),
	}
}

func transport(quiet time.Duration, secure *tls.Config, within, answers time.Duration) *http.Transport {
	var p http.Protocols
	p.SetUnencryptedHTTP2(secure == nil)
	p.SetHTTP2(secure != nil)
	return &http.Transport{
		Protocols: &p, MaxResponseHeaderBytes: 1 << 20, DialContext: (&net.Dialer{Timeout: within}).DialContext,
		TLSClientConfig: secure.Clone(), TLSHandshakeTimeout: within, // a transport adds its protocols to it
		HTTP2: &http.HTTP2Config{SendPingTimeout: quiet, PingTimeout: answers},
	}
}

func (d *Dialer) scheme() string {
	if d.secure {
		return "https://"
	}
	return "http://"
}

// RoundTripper returns what carries HTTP requests to servers, over connections of their own: a
// large answer holds up no stream. It sets the scheme of the requests.
func (d *Dialer) RoundTripper() http.RoundTripper {
	if !d.secure {
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
func (d *Dialer) Close() {
	d.transport.CloseIdleConnections()
	d.requests.CloseIdleConnections()
}

// Dial opens a stream to the server at address, host:port. It takes 1 s at most, and 3 s to another datacenter. The stream ends
// with ctx.
func (d *Dialer) Dial(ctx context.Context, address string, kind Kind) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(d.within, cancel)
	body, out := io.Pipe()
	context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) }) // net/http waits for the body
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.scheme()+address+kind.path(), body)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%q is no address: %w", address, err)
	}
	req.Header.Set(nodeHeader, d.node)
	if d.datacenter != "" {
		req.Header.Set(datacenterHeader, d.datacenter)
	}
	transport := d.transport
	if kind.Bulk {
		transport = d.requests
	}
	resp, err := transport.RoundTrip(req)
	if err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		err = fmt.Errorf("%s refuses: %d %s", address, resp.StatusCode, text)
	}
	if err != nil {
		cancel()
		if resp != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	context.AfterFunc(ctx, func() { resp.Body.Close() }) // it frees a body that waits for the other side too
	return &Stream{
		Node: resp.Header.Get(nodeHeader), in: bufio.NewReader(resp.Body), out: out, flush: func() error { return nil },
		expire: func(d time.Duration) func() bool { return time.AfterFunc(d, cancel).Stop },
		close: func() {
			cancel()
			out.Close()
			resp.Body.Close()
		},
	}, nil
}

// accept serves a stream until accept returns.
func (l *Listener) accept(w http.ResponseWriter, r *http.Request, kind Kind, serve func(context.Context, *Stream)) {
	node, datacenter := r.Header.Get(nodeHeader), r.Header.Get(datacenterHeader)
	if datacenter == l.cfg.Self.Datacenter {
		datacenter = ""
	}
	switch {
	case r.ProtoMajor < 2:
		http.Error(w, "a stream needs HTTP/2", http.StatusHTTPVersionNotSupported)
		return
	case node == "" || len(node) > maxName || len(datacenter) > maxName:
		http.Error(w, nodeHeader+": name the node of this process", http.StatusBadRequest)
		return
	}
	if s := l.cfg.TLS; s != nil {
		peer := s.Peer(r.TLS)
		if peer.Datacenter == l.cfg.Self.Datacenter {
			peer.Datacenter = ""
		}
		if peer.Node != node || peer.Datacenter != datacenter {
			http.Error(w, fmt.Sprintf("%s is %q in the datacenter %q, and the certificate is for %q in %q", nodeHeader, node, datacenter, peer.Node, peer.Datacenter), http.StatusForbidden)
			return
		}
	}
	if datacenter != "" && !kind.Far {
		http.Error(w, fmt.Sprintf("a process of the datacenter %q may not open a stream of the kind %s: join the servers of its own", datacenter, kind.Name), http.StatusForbidden)
		return
	}
	if l.cfg.Refuse != nil && datacenter == "" {
		if err := l.cfg.Refuse(node); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	control := http.NewResponseController(w)
	w.Header().Set(nodeHeader, l.cfg.Self.Name)
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil {
		return
	}
	// A deadline for each frame would cost two messages to the goroutine of the connection. It is set when it has passed.
	passed := make(chan struct{}, 1)
	timer := time.AfterFunc(time.Hour, func() {
		control.SetWriteDeadline(time.Now())
		passed <- struct{}{}
	})
	timer.Stop()
	s := &Stream{
		Node: node, Datacenter: datacenter, in: bufio.NewReader(r.Body), out: w, flush: control.Flush, close: func() {},
		expire: func(d time.Duration) func() bool {
			timer.Reset(d)
			return func() bool {
				if timer.Stop() {
					return true
				}
				<-passed // the writer must not be used after this handler
				return false
			}
		},
	}
	serve(r.Context(), s)
}
