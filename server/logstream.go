package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
)

// LogStream hands log records on to those who follow, at the level each of them
// asks for, beside the process's own log.
type LogStream struct {
	own slog.Handler

	mu        sync.RWMutex
	followers map[*follower]bool
}

// NewLogStream returns a stream beside the handler of the process's own log.
func NewLogStream(own slog.Handler) *LogStream {
	return &LogStream{own: own, followers: map[*follower]bool{}}
}

// Handler returns the handler to log through.
func (s *LogStream) Handler() slog.Handler { return &streamHandler{stream: s, own: s.own} }

type follower struct {
	level   slog.Level
	records chan func(slog.Handler) // a slow reader misses records
}

// Follow writes records of at least this level to w until ctx ends. It begins with
// an empty write: no record from then on is missed.
func (s *LogStream) Follow(ctx context.Context, level slog.Level, json bool, w io.Writer) {
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
	stream *LogStream
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
