package logstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// lineHandler writes records in the form that users of `consul monitor` know:
// "2026-01-02T15:04:05.000Z [INFO]  message: key=value", or JSON with @level,
// @message and @timestamp.
func lineHandler(w io.Writer, level slog.Level, json bool) slog.Handler {
	if !json {
		return &textLines{w: w, level: level}
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		switch a.Key {
		case slog.TimeKey:
			a.Key = "@timestamp"
		case slog.MessageKey:
			a.Key = "@message"
		case slog.LevelKey:
			return slog.String("@level", strings.ToLower(a.Value.String()))
		}
		return a
	}})
}

type textLines struct {
	w     io.Writer
	level slog.Level
	attrs string
	group string
}

func (h *textLines) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *textLines) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %-7s %s", r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), "["+r.Level.String()+"]", r.Message)
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs += h.format(a)
		return true
	})
	if attrs != "" {
		b.WriteString(":" + attrs)
	}
	b.WriteByte('\n')
	_, err := h.w.Write(b.Bytes())
	return err
}

func (h *textLines) format(a slog.Attr) string {
	v := a.Value.Resolve().String()
	if strings.ContainsAny(v, " \t\n\"=") {
		v = fmt.Sprintf("%q", v)
	}
	return " " + h.group + a.Key + "=" + v
}

func (h *textLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	for _, a := range attrs {
		next.attrs += h.format(a)
	}
	return &next
}

func (h *textLines) WithGroup(name string) slog.Handler {
	next := *h
	next.group += name + "."
	return &next
}
