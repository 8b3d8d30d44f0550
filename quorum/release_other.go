//go:build !linux

package quorum

import "errors"

// release cannot be done here: the process has to be restarted.
func release(string) error { return errors.New("not possible on this system: restart this server") }
