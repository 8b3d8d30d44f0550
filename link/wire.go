package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	// signEvery is the silence of a side after which it sends a sign of life.
	signEvery = time.Second
	// quietFor is the silence of the other side after which it has the time of an answer to be heard. In that time a process
	// that stood still itself reads the bytes of the meantime.
	quietFor = 1200 * time.Millisecond
	// heldFor is the number of signs that a frame on its way holds up, before the stream ends.
	heldFor = int32(sendWithin / signEvery)
)

// wire carries a stream over a connection of its own, whose HTTP request asked for the protocol of streams.
type wire struct {
	conn    net.Conn
	answers time.Duration
	sign    *time.Timer
	held    atomic.Int32 // signs in a row that a frame on its way held up
	ended   context.CancelFunc
}

// newWire returns the stream over a connection. in holds the bytes after the request or its answer. ended is called when it is closed.
func newWire(conn net.Conn, in *bufio.Reader, answers time.Duration, ended context.CancelFunc) *Stream {
	w := &wire{conn: conn, answers: answers, ended: ended}
	s := &Stream{carrier: w}
	early, _ := in.Peek(in.Buffered())
	s.in = bufio.NewReader(&wireReader{w, early})
	w.sign = time.AfterFunc(time.Hour, func() { w.live(s) }) // not before sign is set
	w.sign.Reset(signEvery)
	return s
}

// send implements [carrier].
func (w *wire) send(b []byte) error {
	_, err := w.conn.Write(b)
	w.sign.Reset(signEvery)
	return err
}

// live sends a sign of life, or ends a stream whose frame is on its way for too long.
func (w *wire) live(s *Stream) {
	if !s.mu.TryLock() {
		if w.held.Add(1) < heldFor {
			w.sign.Reset(signEvery)
		} else {
			w.close()
		}
		return
	}
	defer s.mu.Unlock()
	w.held.Store(0)
	w.conn.SetWriteDeadline(time.Now().Add(sendWithin))
	if w.send(make([]byte, 4)) != nil || w.conn.SetWriteDeadline(time.Time{}) != nil {
		w.close()
	}
}

// close implements [carrier].
func (w *wire) close() {
	w.ended()
	w.sign.Stop()
	sever(w.conn)
}

// drainFor is the time for the other side to take the last frame of a stream.
const drainFor = 250 * time.Millisecond

// end closes a connection from this side. Frames that nothing reads would make the end overtake the last one that was sent.
func (w *wire) end() {
	defer w.close()
	late := time.AfterFunc(drainFor, w.close)
	defer late.Stop()
	io.Copy(io.Discard, w.conn)
}

// sever closes a connection without a word to the other side, which could take seconds.
func sever(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	c.Close()
}

var errQuiet = errors.New("nothing comes from the other side")

// wireReader reads a connection whose other side gives signs of life.
type wireReader struct {
	*wire
	early []byte // that was read before
}

// Read implements [io.Reader].
func (w *wireReader) Read(p []byte) (int, error) {
	if len(w.early) > 0 {
		n := copy(p, w.early)
		w.early = w.early[n:]
		return n, nil
	}
	for _, wait := range [...]time.Duration{quietFor, w.answers} {
		w.conn.SetReadDeadline(time.Now().Add(wait))
		n, err := w.conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			if err != nil {
				w.ended()
			}
			return n, err
		}
	}
	w.ended()
	return 0, fmt.Errorf("%w for %v", errQuiet, quietFor+w.answers)
}
