package join

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
)

// The paths at ports.server. Those without a certificate may use the first alone.
const (
	JoinPath  = "/v1/skerry/link/join"
	RenewPath = "/v1/skerry/link/renew"
)

// Answer is what a process gets. All are certificates in DER.
type Answer struct {
	// Chain is the certificate, and those that lead from it to each authority.
	Chain [][]byte
	Roots [][]byte
	// Authority is the authority itself in PEM, for servers.
	Authority []byte `json:",omitempty"`
}

// question is what a process asks.
type question struct {
	ID   string
	Node string
	// Datacenter is that of the process; empty: the server's.
	Datacenter string `json:",omitempty"`
	Request    []byte // see [pki.Request]
	Proof      []byte
}

// ask is a question that was read.
type ask struct {
	id         ID
	node       string // its name in the book: DATACENTER/NODE of another datacenter
	named      string // its name in its datacenter
	datacenter string // that it is of, unless it is this one
	print      Print
	proved     func(ed25519.PublicKey) bool
	lives      func() bool // a process of that node name is there
}

// Config configures a [Server].
type Config struct {
	Datacenter string
	Authority  func() *pki.Authority // that signs now
	// Signed is called with each certificate that was signed, before the process has it; nil: it is not called.
	Signed func(ctx context.Context, n pki.Name, by pki.Pin)
	// Book returns where tokens are kept. While there is none yet, it returns an error of the
	// kind [skerry.Unavailable].
	Book func() (Book, error)
	// Revoked reports whether a key was revoked.
	Revoked func(Print) bool
	// Lives reports whether a process of a node is there: no other one gets its name with a token for any node.
	Lives func(node string) bool
	// Valid is how long certificates are valid.
	Valid      time.Duration
	Now        func() time.Time
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Server gives certificates to processes.
type Server struct {
	cfg   Config
	count *prometheus.CounterVec
	slots chan struct{}
}

const (
	maxQuestion = 8 << 10
	// atOnce bounds the questions with a token that are answered at once, and delay is how long the answer to a
	// refused one takes: tokens cannot be tried in great numbers.
	atOnce = 16
	delay  = 500 * time.Millisecond
	within = 5 * time.Second
)

// NewServer returns a server.
func NewServer(cfg Config) *Server {
	s := &Server{cfg: cfg, slots: make(chan struct{}, atOnce), count: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_join_certificates_total", Help: "Requests for certificates, by whether a join token or an earlier certificate was shown, and the result.",
	}, []string{"by", "result"})}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(s.count)
	}
	return s
}

// ServeJoin answers a process that has a token.
func (s *Server) ServeJoin(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		s.answer(w, r, "token", Answer{}, skerry.Errorf(skerry.Exhausted, "too many processes join at once: try again"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	out, node, err := s.join(ctx, w, r)
	var why refusal
	if errors.As(err, &why) {
		s.cfg.Log.Warn("a join token is refused", "reason", string(why), "node", node, "client", r.RemoteAddr)
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		err = errRefused
	}
	if err == nil {
		s.cfg.Log.Info("a process joined with a token", "node", node, "client", r.RemoteAddr)
	}
	s.answer(w, r, "token", out, err)
}

func (s *Server) join(ctx context.Context, w http.ResponseWriter, r *http.Request) (out Answer, node string, err error) {
	q, err := read(w, r)
	if err != nil {
		return out, "", err
	}
	if r.TLS == nil {
		return out, q.Node, skerry.Errorf(skerry.Invalid, "a process joins over TLS")
	}
	bound, err := binding(r.TLS)
	if err != nil {
		return out, q.Node, err
	}
	a := &ask{node: q.Node, named: q.Node, lives: func() bool { return s.cfg.Lives(q.Node) }, proved: func(public ed25519.PublicKey) bool { return proves(public, q.Proof, bound, q.Request, q.Node) }}
	if a.id, err = ParseID(q.ID); err != nil {
		return out, q.Node, err
	}
	n := pki.Name{Datacenter: cmp.Or(q.Datacenter, s.cfg.Datacenter), Node: q.Node}
	if n.Datacenter != s.cfg.Datacenter {
		a.datacenter, a.node, a.lives = n.Datacenter, n.Datacenter+"/"+q.Node, func() bool { return false }
	}
	key, err := pki.KeyOf(q.Request)
	if err != nil {
		return out, q.Node, err
	}
	if a.print, err = PrintOf(key); err != nil {
		return out, q.Node, err
	}
	if s.cfg.Revoked(a.print) {
		return out, q.Node, refusal("the key of the process was revoked: remove its folder pki from data_dir, so that it makes another")
	}
	book, err := s.cfg.Book()
	if err != nil {
		return out, q.Node, err
	}
	err = book.Change(ctx, a.id, a.node, func(e *Entry, k *NodeKey) (*Entry, *NodeKey, error) {
		e, k, err := use(e, k, s.cfg.Now(), a)
		if err == nil {
			n.Kind = e.Kind
			err = n.Check()
		}
		return e, k, err
	})
	if err != nil {
		return out, q.Node, err
	}
	out, err = s.sign(ctx, q.Request, n)
	return out, q.Node, err
}

// ServeRenew answers a process that has a certificate: it gets another one of the same name.
func (s *Server) ServeRenew(w http.ResponseWriter, r *http.Request) {
	out, err := s.renew(w, r)
	s.answer(w, r, "certificate", out, err)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) (Answer, error) {
	q, err := read(w, r)
	if err != nil {
		return Answer{}, err
	}
	n, ok := pki.Peer(r.TLS)
	if !ok {
		return Answer{}, skerry.Errorf(skerry.Denied, "a certificate is renewed over a connection with the present one")
	}
	if n.Datacenter != s.cfg.Datacenter {
		return Answer{}, skerry.Errorf(skerry.Denied, "the certificate of %v is renewed by a server of its own datacenter, which knows whether it was revoked", n)
	}
	key, err := pki.KeyOf(q.Request)
	if err == nil && !key.Equal(r.TLS.PeerCertificates[0].PublicKey) {
		err = skerry.Errorf(skerry.Denied, "a certificate is renewed for the same key; join anew with a token for another one")
	}
	if err != nil {
		return Answer{}, err
	}
	if print, err := PrintOf(key); err != nil || s.cfg.Revoked(print) { // after the handshake
		return Answer{}, skerry.Errorf(skerry.Denied, "the certificate of %v was revoked", n)
	}
	return s.sign(r.Context(), q.Request, n)
}

// sign makes the certificate.
func (s *Server) sign(ctx context.Context, request []byte, n pki.Name) (out Answer, err error) {
	authority := s.cfg.Authority()
	h, err := authority.Sign(request, n, s.cfg.Now(), s.cfg.Valid)
	if err != nil {
		return out, err
	}
	out.Chain, out.Roots = pki.Raw(h.Chain), pki.Raw(h.Roots)
	if n.Kind == pki.Server {
		out.Authority, err = authority.Encode()
	}
	if s.cfg.Signed != nil {
		s.cfg.Signed(ctx, n, authority.Pin())
	}
	return out, err
}

func read(w http.ResponseWriter, r *http.Request) (q question, err error) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&q); err != nil {
		return q, skerry.Errorf(skerry.Invalid, "the question of a process that joins is not understood: %w", err)
	}
	return q, nil
}

// statuses are the answers to errors.
var statuses = map[skerry.Kind]int{
	skerry.Invalid: http.StatusBadRequest, skerry.Denied: http.StatusForbidden,
	skerry.Exhausted: http.StatusTooManyRequests, skerry.Unavailable: http.StatusServiceUnavailable,
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, by string, a Answer, err error) {
	if err == nil {
		s.count.WithLabelValues(by, "signed").Inc()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a)
		return
	}
	kind := skerry.KindOf(err)
	s.count.WithLabelValues(by, kind.String()).Inc()
	status, ok := statuses[kind]
	if !ok {
		status = http.StatusInternalServerError
		s.cfg.Log.Error("a certificate was not made", "client", r.RemoteAddr, "error", err)
	}
	http.Error(w, err.Error(), status)
}
