package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
)

// Error is an answer that is not a success, in Consul's words.
type Error struct {
	Status int
	Text   string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// BadRequest returns an error with status 400.
func BadRequest(text string) error { return &Error{http.StatusBadRequest, text} }

// ErrScript refuses the field Script, old Consul's line for the shell.
var ErrScript = BadRequest(`Request decode failed: json: unknown field "Script" (old Consul's form; set legacy_api = true to allow it, or use Args)`)

// DecodeError returns the answer to a body that could not be decoded because of err.
func DecodeError(err error) error {
	var (
		tooBig *http.MaxBytesError
		known  *Error
	)
	if errors.As(err, &known) {
		return err
	}
	if errors.As(err, &tooBig) {
		return &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("Request body too large, max size: %d bytes", tooBig.Limit)}
	}
	return BadRequest("Request decode failed: " + plainly(err).Error())
}

// plainly returns an error of the decoder without the names of Go types.
func plainly(err error) error {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return err
	}
	want := mismatch.Type.String()
	switch mismatch.Type.Kind() {
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.Slice:
		want = "a list"
	}
	if mismatch.Field == "" {
		return fmt.Errorf("json: cannot unmarshal %s into %s", mismatch.Value, want)
	}
	return fmt.Errorf("json: cannot unmarshal %s into the field %s, which is %s", mismatch.Value, mismatch.Field, want)
}
