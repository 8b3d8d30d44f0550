package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// Config configures a [Server].
type Config struct {
	Discovery skerry.Discovery
	// Ring returns where the positions of the readers of a service begin; 0: it is not known yet.
	Ring func(service string) skerry.Position
	// State is the state of this server. It is asked twice a second.
	State func() follow.State
	// Settled: no view is sent before it is closed; nil: all may be.
	Settled <-chan struct{}
	// Admit returns why the agent with a token may not follow services; nil: all may.
	Admit      func(token string) error
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Server serves the followers at the other end of streams.
type Server struct {
	*Hub
	cfg       Config
	followers prometheus.Gauge
	sent      prometheus.Counter
	bytes     prometheus.Counter

	mu       sync.Mutex
	state    follow.State // as it was told
	sessions map[*session]struct{}
	probes   map[string]*Probe
	lost     map[string]lostFollower // by node
	echoes   map[uint64]*echo        // that are awaited
	echoed   uint64                  // number of the last one
}

const (
	stateEvery = 500 * time.Millisecond
	// outputsEvery is the time after which a new output of a check is sent that changed nothing else.
	outputsEvery = time.Minute
	// maxFollows bounds the services of one follower, and maxName the length of a name in bytes.
	maxFollows = 4096
	maxName    = 512
	// frameSize is about the size of a frame with several views, in bytes.
	frameSize = 256 << 10
)

// NewServer returns a server without followers.
func NewServer(cfg Config) *Server {
	s := &Server{
		Hub: New(cfg.Discovery, cfg.Ring), cfg: cfg, sessions: map[*session]struct{}{}, probes: map[string]*Probe{}, lost: map[string]lostFollower{}, echoes: map[uint64]*echo{},
		followers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "skerry_follow_followers", Help: "Agents that follow services at this server."}),
		sent:      prometheus.NewCounter(prometheus.CounterOpts{Name: "skerry_follow_views_sent_total", Help: "Views and changes of views that were sent to agents."}),
		bytes:     prometheus.NewCounter(prometheus.CounterOpts{Name: "skerry_follow_bytes_sent_total", Help: "Bytes of views and changes of views that were sent to agents."}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(s.followers, s.sent, s.bytes)
	}
	return s
}

// Run sends changes of the server's state to followers, until ctx ends.
func (s *Server) Run(ctx context.Context) {
	outputs := time.NewTicker(outputsEvery)
	defer outputs.Stop()
	var state <-chan time.Time // an agent has no followers
	if s.cfg.State != nil {
		t := time.NewTicker(stateEvery)
		defer t.Stop()
		state = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-outputs.C:
			s.again()
		case <-state:
			now := s.cfg.State()
			s.mu.Lock()
			changed := now != s.state
			s.state = now
			s.mu.Unlock()
			if changed {
				s.tellState()
			}
		}
	}
}

// tellState sends the state of this server to all followers.
func (s *Server) tellState() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.sessions {
		f.sub.send(errand{tell: s.stateNow})
	}
}

func (s *Server) stateNow() follow.Tell {
	state := s.cfg.State()
	return follow.Tell{State: &state}
}

// Stream carries frames to a follower and back.
type Stream interface {
	Send(frame []byte) error
	Receive() ([]byte, error)
}

// session is one follower.
type session struct {
	s      *Server
	node   string
	stream Stream
	sub    *subscription

	mu       sync.Mutex
	wants    map[string]*want
	unplaced []string      // services of which it does not know its position
	admitted chan struct{} // closed with the first message, if the follower may follow
}

// want is a service that a follower follows.
type want struct {
	digest string       // of the view that it has; empty: it has none
	last   *skerry.View // that it was sent; nil: none yet
}

// Serve serves the agent of a node until its stream or ctx ends.
func (s *Server) Serve(ctx context.Context, node string, stream Stream) error {
	if err := skerry.Settle(ctx, s.cfg.Settled); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	f := &session{s: s, node: node, stream: stream, sub: s.subscribe(), wants: map[string]*want{}, admitted: make(chan struct{})}
	s.followers.Inc()
	s.enter(f)
	go func() { cancel(f.listen()) }() // it ends with the stream, which the caller ends
	err := f.tell(ctx)
	cancel(err)
	s.followers.Dec()
	s.leave(f)
	f.sub.Close()
	return err
}

var errMany = fmt.Errorf("a follower follows at most %d services", maxFollows)

// listen takes what the follower asks for, until its stream ends.
func (f *session) listen() error {
	for {
		frame, err := f.stream.Receive()
		if err != nil {
			return err
		}
		if err := f.take(frame); err != nil {
			return err
		}
	}
}

func (f *session) take(frame []byte) error {
	var ask follow.Ask
	if err := json.Unmarshal(frame, &ask); err != nil {
		return fmt.Errorf("a follower's message is not understood: %w", err)
	}
	f.s.counted(f, ask.Counts)
	for _, number := range ask.Echoes {
		f.s.heard(f, number)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.admit(ask.Token); err != nil {
		return err
	}
	for _, s := range ask.Sync {
		if len(s.Service) > maxName {
			return fmt.Errorf("a follower names a service of %d bytes: 1 to %d are allowed", len(s.Service), maxName)
		}
		answer := follow.Sync{Service: skerry.Fold(s.Service), ID: s.ID}
		f.sub.send(errand{answer.Service, func() follow.Tell { return follow.Tell{Sync: &answer} }})
	}
	for _, name := range ask.Drop {
		name = skerry.Fold(name)
		delete(f.wants, name)
		f.sub.Unfollow(name)
	}
	for _, w := range ask.Follow {
		name := skerry.Fold(w.Service)
		switch {
		case name == "" || len(name) > maxName:
			return fmt.Errorf("a follower names a service of %d bytes: 1 to %d are allowed", len(name), maxName)
		case f.wants[name] == nil && len(f.wants) >= maxFollows:
			return errMany
		}
		f.wants[name] = &want{digest: w.Digest}
		if w.Position == 0 {
			f.unplaced = append(f.unplaced, name)
		}
		f.sub.Follow(name, w.Position)
	}
	return nil
}

// admit takes the first message. It must be called with mu held.
func (f *session) admit(token string) error {
	select {
	case <-f.admitted:
		return nil
	default:
	}
	if f.s.cfg.Admit != nil {
		if err := f.s.cfg.Admit(token); err != nil {
			return errors.Join(err, f.stream.Send(follow.Encode(follow.Tell{Refused: err.Error()})))
		}
	}
	close(f.admitted)
	return nil
}

// asksWithin bounds the wait for a follower's first message.
const asksWithin = 10 * time.Second

var errSilent = fmt.Errorf("a follower asked for nothing within %v", asksWithin)

// tell sends views as they change.
func (f *session) tell(ctx context.Context) error {
	late := time.NewTimer(asksWithin)
	defer late.Stop()
	select {
	case <-f.admitted:
	case <-late.C:
		return errSilent
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	}
	if err := f.stream.Send(follow.Encode(f.s.stateNow())); err != nil {
		return err
	}
	for {
		names, errands, err := f.sub.next(ctx)
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if err := f.tellNews(ctx, names...); err != nil {
			return err
		}
		for _, e := range errands {
			if err := f.tellNews(ctx, e.service); err != nil {
				return err
			}
			if err := f.stream.Send(follow.Encode(e.tell())); err != nil {
				return err
			}
		}
	}
}

// tellNews sends what the follower lacks of services, in as few frames as their size allows.
func (f *session) tellNews(ctx context.Context, names ...string) error {
	if err := f.tellPositions(); err != nil {
		return err
	}
	var parts [][]byte
	size := 0
	for _, name := range names {
		news, err := f.news(ctx, name)
		if err != nil {
			return err
		}
		for _, part := range news {
			if size > 0 && size+len(part) > frameSize {
				if err := f.send(parts); err != nil {
					return err
				}
				parts, size = nil, 0
			}
			parts, size = append(parts, part), size+len(part)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return f.send(parts)
}

// tellPositions sends the positions that the follower does not know, before the first views of these services.
func (f *session) tellPositions() error {
	f.mu.Lock()
	names := f.unplaced
	f.unplaced = nil
	f.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	var t follow.Tell
	for _, name := range names {
		t.Positions = append(t.Positions, follow.Placed{Service: name, Position: f.sub.Position(name)})
	}
	return f.stream.Send(follow.Encode(t))
}

// news returns what the follower lacks of a service, in parts.
func (f *session) news(ctx context.Context, name string) ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.wants[name]
	if w == nil {
		return nil, nil
	}
	v, _, err := f.s.discovery.Service(ctx, name)
	if err != nil || v == w.last {
		return nil, err
	}
	from := w.last
	w.last = v
	if from == nil && w.digest != "" && w.digest == follow.DigestOf(v) {
		return [][]byte{follow.Encode(follow.View{Service: name, Digest: w.digest, Same: true, Cause: v.Cause})}, nil
	}
	return change(from, v, f.s.discovery.Foreign), nil
}

func (f *session) send(parts [][]byte) error {
	frame := joined(parts)
	f.s.sent.Add(float64(len(parts)))
	f.s.bytes.Add(float64(len(frame)))
	return f.stream.Send(frame)
}

// joined makes a frame of encoded views.
func joined(views [][]byte) []byte {
	frame := append([]byte(`{"views":[`), bytes.Join(views, []byte(","))...)
	return append(frame, "]}"...)
}
