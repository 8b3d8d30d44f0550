// Package logstream copies the records of the process's log to readers that follow it
// over the API, each at the level that it asks for.
package logstream

import (
	"context"
	"io"
	"log/slog"
	"sync"
)

// Stream is the handler of the process's log and its followers.
type Stream struct {
	own slog.Handler

	mu        sync.RWMutex
	followers map[*follower]bool
}

// New returns a stream without followers. own is the handler of the process's log.
func New(own slog.Handler) *Stream {
	return &Stream{own: own, followers: map[*follower]bool{}}
}

// Handler returns the handler to log through.
func (s *Stream) Handler() slog.Handler { return &streamHandler{stream: s, own: s.own} }

type follower struct {
	level   slog.Level
	records chan func(slog.Handler) // a slow reader misses records
}

// Follow writes records of at least this level to w until ctx ends. It begins with
// an empty write: no record from then on is missed.
func (s *Stream) Follow(ctx context.Context, level slog.Level, json bool, w io.Writer) {
	f := &follower{level: level, records: make(chan func(slog.Handler), 512)}
	out := lineHandler(w, level, json)
	s.mu.Lock()
	s.followers[f] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.followers, f)
		s.mu.Unlock()
	}()
	if _, err := w.Write(nil); err != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case emit := <-f.records:
			emit(out)
		}
	}
}

// streamHandler keeps the attributes and groups given so far, to give them to
// every follower's own handler.
type streamHandler struct {
	stream *Stream
	own    slog.Handler
	with   []func(slog.Handler) slog.Handler
}

func (h *streamHandler) Enabled(ctx context.Context, level slog.Level) bool {
	if h.own.Enabled(ctx, level) {
		return true
	}
	h.stream.mu.RLock()
	defer h.stream.mu.RUnlock()
	for f := range h.stream.followers {
		if level >= f.level {
			return true
		}
	}
	return false
}

func (h *streamHandler) Handle(ctx context.Context, r slog.Record) error {
	h.stream.mu.RLock()
	for f := range h.stream.followers {
		if r.Level < f.level {
			continue
		}
		record := r.Clone()
		select {
		case f.records <- func(out slog.Handler) {
			for _, with := range h.with {
				out = with(out)
			}
			_ = out.Handle(context.Background(), record)
		}:
		default:
		}
	}
	h.stream.mu.RUnlock()
	if h.own.Enabled(ctx, r.Level) {
		return h.own.Handle(ctx, r)
	}
	return nil
}

func (h *streamHandler) extend(with func(slog.Handler) slog.Handler) slog.Handler {
	return &streamHandler{stream: h.stream, own: with(h.own), with: append(h.with[:len(h.with):len(h.with)], with)}
}

func (h *streamHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.extend(func(out slog.Handler) slog.Handler { return out.WithAttrs(attrs) })
}

func (h *streamHandler) WithGroup(name string) slog.Handler {
	return h.extend(func(out slog.Handler) slog.Handler { return out.WithGroup(name) })
}
