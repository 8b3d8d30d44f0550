// Package bus carries frames between the servers of one datacenter over NATS: a server
// that is embedded in each process, or one outside. It knows no frame's meaning.
package bus

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/rescue"
)

// The bounds of frames.
const (
	DefaultMaxFrame = 8 << 20  // bytes
	GreatestFrame   = 64 << 20 // bytes; the largest MaxFrame
	// waiting is how many bytes of frames may wait in one place: to be sent, to be
	// received, and in NATS for one other server. It is at least four frames of the
	// largest size. NATS breaks the connection of this process to its own server at that
	// bound, so it must hold the frames that come while the process gets no processor.
	waiting       = 32 << 20
	waitingFrames = 4
)

// The errors of Send. Test with [errors.Is].
var (
	ErrClosed   = errors.New("the bus is closed")
	ErrTooLarge = errors.New("the frame is too large for the bus")
	ErrAddress  = errors.New("no frame can be sent there")
)

// closeWithin bounds how long Close waits for frames that are still to be sent, and for a
// call of receive.
const closeWithin = time.Second

// Sender is the part of a Bus that carries frames.
type Sender interface {
	// Send sends a frame to the server of that name, or to all others if it is empty. It
	// never blocks, and the caller may change the frame afterwards. A frame that cannot
	// be carried now is dropped and counted, without an error.
	Send(to string, frame []byte) error
}

// Config configures a Bus.
type Config struct {
	// Self is the node name, at most 256 bytes. It is unique in the datacenter: another
	// server of the same name is logged as an error and shown in [Status].
	Self string
	// Datacenter keeps the datacenters apart, also on one outside NATS.
	Datacenter string

	// Listen is the host:port where the routes of other servers are accepted. Port 0 is
	// any free one.
	Listen string
	// Advertise is the host:port that is told to others. The default is the address that
	// is listened on; if that is all addresses of the machine, others use the one that
	// they see.
	Advertise string
	// Peers are routes that are known at the start, as host:port.
	Peers []string

	// URL is that of an outside NATS, or several, separated by commas. Then nothing is
	// listened on and no routes are made: Listen, Advertise and Peers are not used.
	URL string
	// User and Password, or the file of credentials, are for URL.
	User, Password, CredsFile string

	// TLS is used by both sides of a route, or by the client of an outside NATS. Its
	// ServerName, if there is one, must be in the certificate of each server, else the
	// host that is dialed. With nil the connections are not encrypted, and each program
	// that reaches the port can take part.
	TLS *tls.Config
	// Mixed: routes without TLS are taken and made too, where the other side has none. It needs TLS. Programs of this machine can
	// take part meanwhile.
	Mixed bool
	// MaxFrame bounds a frame, in bytes. The default is [DefaultMaxFrame]. It is the same
	// in all servers.
	MaxFrame int

	// Registerer exports the metrics, unless it is nil.
	Registerer prometheus.Registerer
	// Log is by default [slog.Default].
	Log *slog.Logger
	// Net recovers panics of receive. With nil they end the process.
	Net *rescue.Net
}

func (c Config) waiting() int { return max(waiting, waitingFrames*c.MaxFrame) }

// Bus carries frames from and to the other servers of a datacenter.
type Bus struct {
	cfg      Config
	log      *slog.Logger
	subjects subjects
	life     string // of this start; tells two servers of one name apart
	sign     string // the subject of this server's signs of life
	receive  func(from string, frame []byte)
	metrics  *metrics
	presence *presence
	embedded *embedded // nil with an outside NATS

	conn     atomic.Pointer[nats.Conn] // nil: not connected
	maxFrame atomic.Int64              // an outside NATS may have a lower bound
	out, in  *queue

	mu      sync.Mutex
	to      map[string]string // subjects by the addressee's name
	closing chan struct{}     // closed by Close
	closed  bool

	connected sync.WaitGroup // the goroutine that keeps the connection
	sending   chan struct{}  // closed when all frames are sent
	receiving chan struct{}  // closed when no call of receive runs or follows
}

// Start starts a bus. receive is called for each frame from another server, in the order in
// which that server sent them, one at a time; the frame is its own. It must neither block
// for long nor call Close. Frames that wait for it are dropped from some amount on.
//
// An error is one of the configuration, or of the address to listen on. An outside NATS
// that cannot be reached is none: it is tried until Close.
func Start(cfg Config, receive func(from string, frame []byte)) (*Bus, error) {
	if cfg.MaxFrame == 0 {
		cfg.MaxFrame = DefaultMaxFrame
	}
	if cfg.MaxFrame < 0 || cfg.MaxFrame > GreatestFrame {
		return nil, fmt.Errorf("bus: frames of %d bytes: at most %d are possible", cfg.MaxFrame, GreatestFrame)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	subjects, err := newSubjects(cfg.Datacenter, cfg.Self)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{
		cfg: cfg, log: cfg.Log, subjects: subjects, life: rand.Text(), sign: subjects.here(), receive: receive,
		out: newQueue(cfg.waiting()), in: newQueue(cfg.waiting()),
		to: map[string]string{}, closing: make(chan struct{}), sending: make(chan struct{}), receiving: make(chan struct{}),
	}
	b.maxFrame.Store(int64(cfg.MaxFrame))
	b.presence = newPresence(b.life)
	b.metrics = newMetrics(b)
	if err := b.begin(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(b.metrics); err != nil {
			b.Close()
			return nil, fmt.Errorf("bus: %w", err)
		}
	}
	return b, nil
}

// begin starts NATS and the goroutines.
func (b *Bus) begin() (err error) {
	var first *session
	if b.cfg.URL == "" {
		if b.embedded, err = startEmbedded(b.cfg, b.subjects, b.life); err != nil {
			return err
		}
		if first, err = b.connect(); err != nil {
			b.embedded.close()
			return err
		}
		b.log.Info("the bus accepts routes of other servers", "address", b.embedded.addr())
	} else if err = checkOutside(b.cfg); err != nil {
		return err
	}
	go b.send()
	go b.deliver()
	b.connected.Go(func() { b.keepConnected(first) })
	return nil
}

// Send implements [Sender]. The errors are [ErrClosed], [ErrTooLarge], and [ErrAddress] for
// the own name and for one that no server can have. A server that is not there is none.
func (b *Bus) Send(to string, frame []byte) error {
	if limit := b.maxFrame.Load(); int64(len(frame)) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(frame), limit)
	}
	subject, err := b.subjectOf(to)
	if err != nil {
		return err
	}
	if b.conn.Load() == nil {
		b.metrics.dropped(noConnection, 1)
	} else if !b.out.push(item{about: subject, frame: bytes.Clone(frame)}) {
		b.metrics.dropped(sendQueue, 1)
	}
	return nil
}

// subjectOf returns the subject of frames to a server, or to all if to is empty.
func (b *Bus) subjectOf(to string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return "", ErrClosed
	}
	if subject, ok := b.to[to]; ok {
		return subject, nil
	}
	subject := b.subjects.all()
	if to != "" {
		if err := checkName(to); err != nil {
			return "", fmt.Errorf("%w: %w", ErrAddress, err)
		}
		if to == b.cfg.Self {
			return "", fmt.Errorf("%w: %s is this server", ErrAddress, to)
		}
		subject = b.subjects.one(to)
	}
	if len(b.to) >= maxPeers {
		clear(b.to)
	}
	b.to[to] = subject
	return subject, nil
}

// AddPeers makes routes to more addresses, as host:port, beside those known. A known one
// changes nothing. One that cannot be an address is logged and left out. With an outside
// NATS it does nothing.
func (b *Bus) AddPeers(addrs ...string) {
	if b.embedded == nil || b.over() {
		return
	}
	for _, err := range b.embedded.add(addrs) {
		b.log.Error("a route of the bus is not made", "error", err)
	}
}

// Rejoin ends all routes and makes them anew, so that the certificates of the other sides are judged again. Frames of the
// meantime, about a second, are lost. It returns when routes are accepted, or after Close. With an outside NATS it does nothing.
func (b *Bus) Rejoin() {
	if b.embedded == nil {
		return
	}
	for !b.over() {
		err := b.embedded.again()
		if err == nil {
			return
		}
		b.log.Error("the bus does not accept routes of other servers; it is tried again", "error", err)
		select {
		case <-b.closing:
		case <-time.After(rejoinPause):
		}
	}
}

// rejoinPause is the wait after routes could not be accepted again.
const rejoinPause = time.Second

// Addr is the host:port where routes are accepted; "" with an outside NATS.
func (b *Bus) Addr() string {
	if b.embedded == nil {
		return ""
	}
	return b.embedded.addr()
}

// Close sends the frames that wait, for at most a second, and ends the bus. After it no call
// of receive begins. It waits at most a second for one that runs. A second Close does
// nothing.
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()
	if b.cfg.Registerer != nil {
		b.cfg.Registerer.Unregister(b.metrics)
	}
	b.out.close()
	b.finish()
	b.in.discard()
	close(b.closing)
	b.connected.Wait()
	if b.embedded != nil {
		b.embedded.close()
	}
	select {
	case <-b.receiving:
	case <-time.After(closeWithin):
		b.log.Error("the bus has ended while a frame is still being handled")
	}
	return nil
}

// finish waits until the frames that were sent before Close are on their way.
func (b *Bus) finish() {
	select {
	case <-b.sending:
		if conn := b.conn.Load(); conn != nil {
			conn.FlushTimeout(closeWithin) // an error is a frame that is lost, as at any fault
		}
	case <-time.After(closeWithin):
		b.metrics.dropped(noConnection, b.out.discard())
	}
}
