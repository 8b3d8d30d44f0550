package skerry

import (
	"errors"
	"fmt"
)

// Kind classifies errors by the caller's possible reaction. Each front-end has one
// table from kinds to its own statuses.
type Kind int

const (
	Internal    Kind = iota // our fault; try again or report it
	Invalid                 // the request can never succeed; correct the named field
	NotFound                // the named object does not exist
	Conflict                // the object is in another state than assumed
	Denied                  // not allowed
	Exhausted               // a limit was reached
	Unavailable             // a part that is needed does not answer now; try again
	Unsupported             // this server does not offer it
)

var kindNames = [...]string{"internal", "invalid", "not found", "conflict", "denied", "exhausted", "unavailable", "unsupported"}

// String returns the kind in lower case, as in "not found".
func (k Kind) String() string { return kindNames[k] }

// Error is an error with a kind. Message is written for the user and names the
// field and the fix. Subject names the kind of the object at fault ("check",
// "service") where a front-end has words of its own for it.
type Error struct {
	Kind    Kind
	Subject string
	ID      string
	Message string
	Err     error // the cause, already part of Message; may be nil
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of kind k. A %w verb keeps the cause.
func Errorf(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Damaged returns the [Record.Damage] of the record at a key in a file.
func Damaged(key, file string) error {
	return &Error{Kind: Internal, Subject: "store", ID: key, Message: fmt.Sprintf(
		"the record %q is damaged in the store (%s): it is not as it was written; write the key anew or delete it", key, file)}
}

// KindOf returns the kind of the first *Error in err's chain, else Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
