package access

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/skerryhq/skerry"
)

// AuditConfig sets the path of the audit log and when a new file is begun.
type AuditConfig struct {
	Path     string
	MaxBytes int           // of a file; 0: 100 MiB. The unit of the library is 1 MiB.
	MaxAge   time.Duration // of a file before a new one is begun; 0: no limit
	MaxFiles int           // old files that are kept; 0: 10
	Reads    bool          // allowed GETs are noted too
}

// defaultFiles is how many old files are kept: with MaxBytes it bounds the size of the
// log on the disk, since any caller can make lines.
const defaultFiles = 10

// maxNoted is the most bytes that a line holds of a path, of a reason, and of the other
// words of a request. The length of a longer path is logged.
const (
	maxNoted = 1024
	maxWord  = 128
)

// Audit logs requests, with identity, address and result: one JSON object a line.
// Refusals and writes are always noted.
type Audit struct {
	reads bool
	log   *slog.Logger
	every time.Duration

	mu      sync.Mutex
	file    *lumberjack.Logger
	begun   time.Time
	failing bool
}

// OpenAudit opens the log; its folder is made.
func OpenAudit(c AuditConfig, log *slog.Logger) (*Audit, error) {
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, skerry.Errorf(skerry.Unavailable, "acl.audit.path: %w", err)
	}
	f := &lumberjack.Logger{Filename: c.Path, MaxBackups: c.MaxFiles}
	if f.MaxBackups == 0 {
		f.MaxBackups = defaultFiles
	}
	if c.MaxBytes > 0 {
		f.MaxSize = max(c.MaxBytes>>20, 1)
	}
	a := &Audit{reads: c.Reads, log: log, every: c.MaxAge, file: f, begun: time.Now()}
	// A log that cannot be written is an error at the start, not at the first refusal.
	if _, err := f.Write(nil); err != nil {
		return nil, skerry.Errorf(skerry.Unavailable, "acl.audit.path: %w", err)
	}
	return a, nil
}

// Wants reports whether a request with this method and status is noted.
func (a *Audit) Wants(method string, status int) bool {
	return a.reads || status == 401 || status == 403 || method != "GET" && method != "OPTIONS" && method != "HEAD"
}

// Note writes one line. A failure to write is logged once.
func (a *Audit) Note(act skerry.Act) {
	if n := len(act.Path); n > maxNoted {
		act.Path, act.PathBytes = cut(act.Path, maxNoted), n
	}
	act.Reason, act.Method, act.From = cut(act.Reason, maxNoted), cut(act.Method, maxWord), cut(act.From, maxWord)
	line, err := json.Marshal(act)
	if err != nil {
		a.log.Error("an audit line cannot be made", "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.every > 0 && act.Time.Sub(a.begun) >= a.every {
		a.begun = act.Time
		_ = a.file.Rotate() // a file that cannot be rotated is written on
	}
	_, err = a.file.Write(append(line, '\n'))
	if err != nil && !a.failing {
		a.log.Error("the audit log cannot be written", "error", err)
	}
	a.failing = err != nil
}

// cut returns the beginning of s that fits most bytes, without a broken rune.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// Close closes the file.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}
