package consul

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds a line of a stream.
const maxLine = 16 << 20

// errLine is a line that is longer.
var errLine = errors.New("client/consul: a line of the stream is longer than 16 MiB")

// event is a server-sent event (WHATWG HTML, section 9.2).
type event struct {
	kind, id string
	data     []byte // only until the next event is read
}

// events reads events.
type events struct {
	r    *bufio.Reader
	long []byte // the beginning of a line that is larger than the reader's buffer
	data []byte
	id   string
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReaderSize(r, 16<<10)} }

// next returns the next event. Comments and fields that are unknown are passed over.
func (s *events) next() (e event, err error) {
	s.data = s.data[:0]
	for {
		line, err := s.line()
		if err != nil {
			return e, err
		}
		if len(line) == 0 {
			if len(s.data) > 0 {
				e.id, e.data = s.id, s.data[:len(s.data)-1]
				return e, nil
			}
			e = event{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.kind = string(value)
		case "id":
			s.id = string(value)
		case "data":
			if len(s.data)+len(value) >= maxLine {
				return e, errLine
			}
			s.data = append(append(s.data, value...), '\n')
		}
	}
}

// line returns the next line without its end, until the next call.
func (s *events) line() ([]byte, error) {
	s.long = s.long[:0]
	for {
		part, err := s.r.ReadSlice('\n')
		if len(s.long)+len(part) > maxLine {
			return nil, errLine
		}
		if err == nil && len(s.long) == 0 {
			return end(part), nil
		}
		s.long = append(s.long, part...)
		switch {
		case err == nil:
			return end(s.long), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err // a line without an end is cut off
		}
	}
}

func end(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
