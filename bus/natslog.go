package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Of the errors of NATS one of each sort, and at most warnPer of all, are warned about
// within a period. The others are logged at the level debug: a port that is scanned must
// not fill the log.
const (
	warnPeriod = time.Minute
	warnPer    = 20
)

// natsLog passes the embedded server's log on: errors as warnings, all else at the level
// debug.
type natsLog struct {
	log   *slog.Logger
	fatal chan error // the first error that ended a part of the embedded server

	mu     sync.Mutex
	since  time.Time       // when the period began
	warned map[string]bool // in this period, by sort
}

func newNATSLog(log *slog.Logger) *natsLog {
	return &natsLog{log: log, fatal: make(chan error, 1), warned: map[string]bool{}}
}

func (l *natsLog) debug(format string, v []any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }

// Noticef implements [server.Logger].
func (l *natsLog) Noticef(format string, v ...any) { l.debug(format, v) }

// Warnf implements [server.Logger].
func (l *natsLog) Warnf(format string, v ...any) { l.debug(format, v) }

// Debugf implements [server.Logger].
func (l *natsLog) Debugf(format string, v ...any) { l.debug(format, v) }

// Tracef implements [server.Logger].
func (l *natsLog) Tracef(format string, v ...any) { l.debug(format, v) }

// Errorf implements [server.Logger].
func (l *natsLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if l.quiet(sort(text), time.Now()) {
		l.log.Debug("nats: " + text)
		return
	}
	l.log.Warn("nats: " + text)
}

// Fatalf implements [server.Logger]. NATS goes on after it; Start returns the error.
func (l *natsLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, noClients) {
		return
	}
	select {
	case l.fatal <- errors.New(text):
	default:
	}
}

// sort is the sort of an error: its first words, without the connection and the values.
func sort(text string) string {
	if i := strings.LastIndex(text, " - "); i >= 0 {
		text = text[i+3:]
	}
	return text[:min(20, len(text))]
}

// quiet reports whether enough was warned about in this period.
func (l *natsLog) quiet(sort string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= warnPeriod {
		l.since = now
		clear(l.warned)
	}
	if l.warned[sort] || len(l.warned) >= warnPer {
		return true
	}
	l.warned[sort] = true
	return false
}
