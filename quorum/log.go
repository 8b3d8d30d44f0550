package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo returns the logger that etcd is given: warnings and worse go to log. A message
// that would end the process, or panic, ends the member.
func zapTo(log *slog.Logger, dead *death) *zap.Logger {
	end := onDeath{dead}
	return zap.New(&zapCore{log: log}, zap.WithFatalHook(end), zap.WithPanicHook(end))
}

// quiet are etcd's warnings about our choices, about retries, about errors that the
// caller gets anyway, and about each connection of members that ends: that a member is
// not reached is told once.
var quiet = []string{
	"Running http and grpc server on single port", "simple token is not cryptographically signed",
	"failed to publish local member to cluster", "stopped publish because server is stopping",
	"failed to apply request", "Failed to detect schema version", "failed to update storage version",
	"rejecting member add request", "rejecting member remove request", "rejecting promote learner",
	"leadership transfer failed", "data-dir used by this member must be removed",
	"closed TCP streaming connection", "lost TCP streaming connection", "failed to find remote peer in cluster",
	"rejected stream from remote peer because it was removed", "rejected Raft message from removed member", "failed to process Raft message",
	"waiting for ReadIndex response took too long", "ignored out-of-date read index response", "timed out waiting for read index response",
	"prober detected unhealthy status", "prober found high clock drift", "dropped Raft message", "dropped internal Raft message",
	"failed to reach the peer URL", "failed to get version", "failed to get all reachable pages", "bootstrap failed",
}

// closing is the start of etcd's message about each listener that it closes itself.
const closing = "setting up serving from embedded etcd failed"

type zapCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// Enabled implements [zapcore.Core].
func (c *zapCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

// With implements [zapcore.Core].
func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements [zapcore.Core].
func (c *zapCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return to
	}
	return to.AddCore(e, c)
}

// Write implements [zapcore.Core].
func (c *zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	for _, q := range quiet {
		if strings.HasPrefix(e.Message, q) {
			return nil
		}
	}
	if strings.HasPrefix(e.Message, closing) && ofClosed(fields) {
		return nil
	}
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(enc)
	}
	args := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		args = append(args, k, v)
	}
	c.log.Log(context.Background(), level, "etcd: "+e.Message, args...)
	return nil
}

// ofClosed reports whether the error among the fields is that of a closed listener.
func ofClosed(fields []zapcore.Field) bool {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && errors.Is(err, net.ErrClosed) {
			return true
		}
	}
	return false
}

// Sync implements [zapcore.Core].
func (c *zapCore) Sync() error { return nil }

// onDeath ends the member in place of the process.
type onDeath struct{ dead *death }

// OnWrite implements [zapcore.CheckWriteHook].
func (d onDeath) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	reason := errors.New(e.Message)
	for _, f := range fields {
		if f.Key == "error" {
			if err, ok := f.Interface.(error); ok {
				reason = fmt.Errorf("%w: %w", reason, err)
			}
		}
	}
	d.dead.of(reason)
}
