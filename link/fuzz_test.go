package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzReceive reads frames from arbitrary bytes. Each frame is as long as it says, and no more is kept than came.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x', 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'x'})
	f.Add([]byte{0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		s := &Stream{in: bufio.NewReader(bytes.NewReader(sent))}
		for left := sent; ; {
			frame, err := s.Receive()
			if err != nil {
				return
			}
			for len(left) >= 4 && binary.BigEndian.Uint32(left) == 0 {
				left = left[4:] // a sign of life
			}
			if n := binary.BigEndian.Uint32(left); int(n) != len(frame) || !bytes.Equal(frame, left[4:4+n]) {
				t.Fatalf("a frame of %d bytes in place of %d", len(frame), n)
			}
			left = left[4+len(frame):]
		}
	})
}
