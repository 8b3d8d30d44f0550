package consul

import (
	"bytes"
	"encoding/json"
	"io"
)

// The bounds of a JSON body. A value of a few bytes can make hundreds in memory: an
// empty object of a list of checks makes a whole check. So values are counted before
// they are decoded: each needs some bytes of the body, beside those that are free.
const (
	maxDepth      = 64   // objects and lists within each other
	freeValues    = 1024 // members and elements
	bytesPerValue = 8
)

// objectBudget says how many objects and lists a body may have.
type objectBudget struct{ free, bytesPer int }

var (
	// oneThing is a body about one service, check, policy or the like.
	oneThing = objectBudget{free: 128, bytesPer: 128}
	// manyThings is a body that lists many of them.
	manyThings = objectBudget{free: 256, bytesPer: 32}
)

// readJSON reads the body's first JSON value into v. Fields that v lacks are errors. An
// empty body is [io.EOF].
func (q *request) readJSON(v any) error {
	d, err := q.jsonBody()
	if err != nil {
		return err
	}
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// jsonBody returns a decoder of the body, once it is known to be within its bounds.
func (q *request) jsonBody() (*json.Decoder, error) {
	body, err := readAll(q.r.Body, q.r.ContentLength)
	if err != nil {
		return nil, err
	}
	budget := oneThing
	if q.route.lists {
		budget = manyThings
	}
	if err := budget.judge(body); err != nil {
		return nil, err
	}
	return json.NewDecoder(bytes.NewReader(body)), nil
}

// readAll reads r to its end. size is how long it says it is, or -1. Memory is taken
// as bytes arrive, twice as much each time.
func readAll(r io.Reader, size int64) ([]byte, error) {
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

// judge refuses a body that is nested too deep, or that has more values than its
// length allows. Whether it is JSON at all is the decoder's to say.
func (o objectBudget) judge(b []byte) error {
	depth, objects, values := 0, 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			objects++
			if depth++; depth > maxDepth {
				return badRequest("Request decode failed: the body is nested more than 64 deep")
			}
		case '}', ']':
			depth--
		case ',':
			values++
		}
	}
	if objects > o.free+len(b)/o.bytesPer || values > freeValues+len(b)/bytesPerValue {
		return badRequest("Request decode failed: the body has too many values for its length; send fewer in one request")
	}
	return nil
}

// endOfString returns where the string ends that begins at b[i].
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
