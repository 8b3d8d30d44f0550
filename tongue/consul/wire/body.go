package wire

import (
	"bytes"
	"encoding/json"
	"io"
)

// The bounds of a JSON body. A value of a few bytes can make hundreds in memory: an
// empty object of a list of checks makes a whole check. So values are counted before
// they are decoded: each needs some bytes of the body, apart from the free ones.
const (
	maxDepth      = 64   // objects and lists within each other
	freeValues    = 1024 // members and elements
	bytesPerValue = 8
)

// Budget bounds the number of objects and lists in a body.
type Budget struct{ free, bytesPer int }

var (
	// One is the budget of a body about one service, check, policy or the like.
	One = Budget{free: 128, bytesPer: 128}
	// Many is the budget of a body with a list of such objects.
	Many = Budget{free: 256, bytesPer: 32}
)

// Decode reads the first JSON value of body into v. Fields that v lacks are errors, as in
// Consul. An empty body is [io.EOF].
func (o Budget) Decode(body []byte, v any) error {
	d, err := o.Decoder(body)
	if err != nil {
		return err
	}
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// Decoder returns a decoder of a body that is within the budget.
func (o Budget) Decoder(body []byte) (*json.Decoder, error) {
	if err := o.judge(body); err != nil {
		return nil, err
	}
	return json.NewDecoder(bytes.NewReader(body)), nil
}

// ReadAll reads r to its end. size is the length that the sender gave, or -1. The buffer
// grows as bytes arrive, to twice its size each time.
func ReadAll(r io.Reader, size int64) ([]byte, error) {
	const first = 64 << 10
	if size < 0 {
		size = 511
	}
	b := make([]byte, 0, min(size+1, first)) // one byte more finds the end
	for {
		if len(b) == cap(b) {
			larger := 2 * cap(b)
			if rest := int(size) + 1; rest > cap(b) {
				larger = min(larger, rest)
			}
			b = append(make([]byte, 0, larger), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		if b = b[:len(b)+n]; err == io.EOF {
			return b, nil
		} else if err != nil {
			return b, err
		}
	}
}

// judge refuses a body that is nested too deep, or that has more values than its length
// allows. The decoder checks whether it is valid JSON.
func (o Budget) judge(b []byte) error {
	depth, objects, values := 0, 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			objects++
			if depth++; depth > maxDepth {
				return BadRequest("Request decode failed: the body is nested more than 64 deep")
			}
		case '}', ']':
			depth--
		case ',':
			values++
		}
	}
	if objects > o.free+len(b)/o.bytesPer || values > freeValues+len(b)/bytesPerValue {
		return BadRequest("Request decode failed: the body has too many values for its length; send fewer in one request")
	}
	return nil
}

// endOfString returns the index of the end of the string that begins at b[i].
func endOfString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return len(b)
		}
		if escape := bytes.IndexByte(b[i:i+quote], '\\'); escape >= 0 {
			i += escape + 1 // the byte after it is passed over
			continue
		}
		return i + quote
	}
	return i
}
