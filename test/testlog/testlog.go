// Package testlog collects log output, for tests to read.
package testlog

import (
	"strings"
	"sync"
)

// Log is an [io.Writer] that keeps its input. It may be read while it is written to.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how often s was written.
func (l *Log) Count(s string) int { return strings.Count(l.String(), s) }
