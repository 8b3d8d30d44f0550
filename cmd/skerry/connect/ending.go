package connect

import "fmt"

// ExitCode ends the process with a code and without a message.
type ExitCode int

// Error implements error.
func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// UsageError is a command line that parses and makes no sense.
type UsageError string

// Error implements error.
func (e UsageError) Error() string { return string(e) }

// Usagef returns a [UsageError]; it names the flag at fault.
func Usagef(format string, args ...any) error { return UsageError(fmt.Sprintf(format, args...)) }
