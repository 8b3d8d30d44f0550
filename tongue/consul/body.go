package consul

import (
	"encoding/json"

	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// decode reads the body into v. Unknown fields are errors, as in Consul.
func (q *request) decode(v any) error {
	if err := q.readJSON(v); err != nil {
		return wire.DecodeError(err)
	}
	return nil
}

// readJSON reads the first JSON value of the body into v. Fields that v lacks are errors.
// An empty body is [io.EOF].
func (q *request) readJSON(v any) error {
	body, err := wire.ReadAll(q.r.Body, q.r.ContentLength)
	if err != nil {
		return err
	}
	return q.budget().Decode(body, v)
}

// jsonBody returns a decoder of the body, or an error if it exceeds its bounds.
func (q *request) jsonBody() (*json.Decoder, error) {
	body, err := wire.ReadAll(q.r.Body, q.r.ContentLength)
	if err != nil {
		return nil, err
	}
	return q.budget().Decoder(body)
}

func (q *request) budget() wire.Budget {
	if q.route.lists {
		return wire.Many
	}
	return wire.One
}
