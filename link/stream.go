package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
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
	// Far: servers of other datacenters may open it, too. Nothing else of a datacenter is open to them.
	Far bool
}

func (k Kind) path() string { return streamPath + "/" + k.Name }

// Stream carries frames both ways between a process and a server, each way in their order.
type Stream struct {
	// Node is the name of the node at the other end, and Datacenter its datacenter; empty: that of the listener.
	Node, Datacenter string

	in *bufio.Reader
	carrier

	mu      sync.Mutex // one frame is sent at a time
	sending []byte     // the last frame that was not large, for the next one
}

// carrier is what a stream sends through.
type carrier interface {
	// send sends bytes, for about sendWithin at most.
	send(b []byte) error
	close()
}

// Send sends a frame, which is not empty. It blocks for 6 s at most, and the stream ends after an error.
func (s *Stream) Send(frame []byte) error {
	if n := len(frame); n == 0 || n > MaxFrame {
		return fmt.Errorf("a frame of %d bytes is not sent: 1 to %d are allowed", n, MaxFrame)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append(binary.BigEndian.AppendUint32(s.sending[:0], uint32(len(frame))), frame...)
	if len(out) <= keptFrame {
		s.sending = out
	}
	return s.send(out)
}

// Receive returns the next frame. It is an error of [io.EOF] after the other side closed the stream.
func (s *Stream) Receive() ([]byte, error) {
	for {
		var length [4]byte
		if _, err := io.ReadFull(s.in, length[:]); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(length[:])
		if n == 0 {
			continue // a sign of life
		}
		if n > MaxFrame {
			return nil, fmt.Errorf("a frame of %d bytes is larger than %d", n, MaxFrame)
		}
		var frame bytes.Buffer // it grows with the bytes that came, not by the length that was claimed
		if _, err := io.CopyN(&frame, s.in, int64(n)); err != nil {
			return nil, err
		}
		return frame.Bytes(), nil
	}
}

// Close ends the stream at the side that opened it: calls of Send and Receive return. At a server a stream
// ends when its function of [Config.Streams] returns.
func (s *Stream) Close() { s.close() }
