package child

import (
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/skerryhq/skerry"
)

// Ends reports whether a signal asks for the end.
func Ends(sig os.Signal) bool {
	return sig == os.Interrupt || sig == syscall.SIGTERM || sig == syscall.SIGQUIT
}

// Shell returns the words that let a shell run a command line.
func Shell(line string) []string { return []string{"/bin/sh", "-c", line} }

// Line returns the words of a command line: those that it has, so that signals
// reach the program, or a shell's when it has more than words.
func Line(line string) []string {
	if strings.ContainsAny(line, "\"'`$&|;<>()*?[]#~=%!{}\\\n") {
		return Shell(line)
	}
	return strings.Fields(line)
}

// ParseSignal understands a signal's name, with or without SIG, in any case.
func ParseSignal(name string) (os.Signal, error) {
	if sig, ok := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]; ok {
		return sig, nil
	}
	return nil, skerry.Errorf(skerry.Invalid, "%q is not a signal: want one of %s", name,
		strings.Join(slices.Sorted(maps.Keys(signals)), ", "))
}
