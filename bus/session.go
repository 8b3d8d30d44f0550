package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/skerryhq/skerry/rescue"
)

const levelDebug = slog.LevelDebug

var ctx = context.Background() // of logging

// Attempts to connect are a random time apart, half to one and a half times the pause. The
// pause doubles from pauseLeast to pauseMost: not all servers come back at the same moment.
const (
	pauseLeast  = 100 * time.Millisecond
	pauseMost   = 2 * time.Second
	dialTimeout = 2 * time.Second
	// arrivals is how many frames may wait between NATS' reader and the queue: they are
	// moved at once, so this is for moments without a processor.
	arrivals = 16384
)

// session is one connection to NATS.
type session struct {
	conn     *nats.Conn
	arrived  chan *nats.Msg // of all subscriptions, in the order in which NATS sent them
	heard    []*nats.Subscription
	dropped  int           // of heard, counted so far
	finished chan struct{} // closed when the connection is
}

// connect makes a connection with its subscriptions.
func (b *Bus) connect() (*session, error) {
	s := &session{arrived: make(chan *nats.Msg, arrivals), finished: make(chan struct{})}
	options := append(b.options(),
		nats.Name("skerry "+b.cfg.Self), nats.NoReconnect(), nats.NoEcho(), nats.SkipSubjectValidation(),
		nats.Timeout(dialTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(s.finished) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrSlowConsumer) { // counted
				b.log.Warn("an error of NATS on the bus", "error", err)
			}
		}),
	)
	var err error
	if s.conn, err = nats.Connect(b.cfg.URL, options...); err != nil {
		return nil, err
	}
	for _, subject := range b.subjects.heard() {
		sub, err := s.conn.ChanSubscribe(subject, s.arrived)
		if err != nil {
			s.conn.Close()
			return nil, err
		}
		s.heard = append(s.heard, sub)
	}
	if err := s.conn.FlushTimeout(dialTimeout); err != nil {
		s.conn.Close()
		return nil, err
	}
	b.maxFrame.Store(min(int64(b.cfg.MaxFrame), s.conn.MaxPayload()))
	b.conn.Store(s.conn)
	return s, nil
}

// options are those of the way to NATS.
func (b *Bus) options() []nats.Option {
	if b.embedded != nil {
		// A write within the process is slow only when the process gets no processor.
		return []nats.Option{nats.InProcessServer(b.embedded.srv.Load()), nats.FlusherTimeout(time.Minute)}
	}
	options := []nats.Option{nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut), nats.FlusherTimeout(writeDeadline)}
	if b.cfg.User != "" {
		options = append(options, nats.UserInfo(b.cfg.User, b.cfg.Password))
	}
	if b.cfg.CredsFile != "" {
		options = append(options, nats.UserCredentials(b.cfg.CredsFile))
	}
	if b.cfg.TLS != nil {
		options = append(options, nats.Secure(b.cfg.TLS.Clone()))
	}
	return options
}

// checkOutside finds the mistakes in the address of an outside NATS that no other attempt
// repairs.
func checkOutside(cfg Config) error {
	for one := range strings.SplitSeq(cfg.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" {
			return errors.New("the URL of NATS is none, or lacks nats://") // without its text: it may hold a password
		}
	}
	if cfg.CredsFile != "" {
		if _, err := os.Stat(cfg.CredsFile); err != nil {
			return fmt.Errorf("the credentials of NATS: %w", err)
		}
	}
	return nil
}

// keepConnected connects until Close, beginning with the first session if there is one.
func (b *Bus) keepConnected(s *session) {
	pause, told := b.leastPause(), false
	for {
		var err error
		if s == nil {
			s, err = b.connect()
		}
		if s != nil {
			if told {
				b.log.Info("the bus is connected to NATS again")
			}
			pause, told = b.leastPause(), false
			err = b.serve(s)
			s = nil
		}
		if b.over() {
			return
		}
		if !told {
			b.log.Warn("the bus is not connected to NATS; it is tried again", "error", err)
			told = true
		}
		select {
		case <-b.closing:
			return
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, pauseMost)
	}
}

// leastPause is short within the process: there the connection breaks when the process fell
// behind by more than may wait, and is made again at once.
func (b *Bus) leastPause() time.Duration {
	if b.embedded != nil {
		return pauseLeast / 100
	}
	return pauseLeast
}

func (b *Bus) over() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}

// serve moves what arrives to the queue until the connection ends, and returns why.
func (b *Bus) serve(s *session) error {
	defer func() {
		b.conn.CompareAndSwap(s.conn, nil)
		s.conn.Close()
		<-s.finished
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	b.announce()
	for {
		select {
		case m := <-s.arrived:
			b.arrive(m.Subject, m.Data, time.Now())
		case now := <-tick.C:
			b.look(now)
			b.countDropped(s)
		case <-s.finished:
			return s.conn.LastError()
		case <-b.closing:
			return nil
		}
	}
}

// countDropped counts the frames that came faster than they could be moved.
func (b *Bus) countDropped(s *session) {
	sum := 0
	for _, sub := range s.heard {
		n, err := sub.Dropped()
		if err != nil { // the connection is closed: the number is none
			return
		}
		sum += n
	}
	b.metrics.dropped(receiveQueue, sum-s.dropped)
	s.dropped = sum
}

// arrive takes a message of NATS.
func (b *Bus) arrive(subject string, data []byte, now time.Time) {
	k, from, ok := b.subjects.parse(subject)
	if !ok {
		b.metrics.dropped(stranger, 1)
		return
	}
	if from == b.subjects.self { // NATS does not echo
		if k == here {
			b.meetTwin(data, now)
		} else {
			b.metrics.dropped(stranger, 1)
		}
		return
	}
	name, ok := b.presence.hear(from, now)
	switch {
	case !ok:
		b.metrics.dropped(stranger, 1)
	case k == here:
		b.meet(from, data)
	case b.in.push(item{about: name, frame: data}):
		b.metrics.count(received, len(data))
	default:
		b.metrics.dropped(receiveQueue, 1)
	}
}

// send publishes the frames that wait, until the queue is closed and empty.
func (b *Bus) send() {
	defer close(b.sending)
	for {
		it, ok := b.out.pop()
		if !ok {
			return
		}
		conn := b.conn.Load()
		if conn == nil || conn.Publish(it.about, it.frame) != nil {
			b.metrics.dropped(noConnection, 1)
			continue
		}
		if it.about != b.sign {
			b.metrics.count(sent, len(it.frame))
		}
	}
}

// deliver calls receive for each frame, until the queue is closed.
func (b *Bus) deliver() {
	defer close(b.receiving)
	for {
		it, ok := b.in.pop()
		if !ok {
			return
		}
		b.hand(it)
	}
}

func (b *Bus) hand(it item) {
	defer b.cfg.Net.Catch(rescue.Bus, nil)
	b.receive(it.about, it.frame)
}
