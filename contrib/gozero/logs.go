package gozero

import (
	"context"
	"log/slog"

	"github.com/zeromicro/go-zero/core/logx"
)

// logs passes the client's log on to go-zero's. The zero value has no fields.
type logs struct {
	fields []logx.LogField
	group  string // before the names of fields
}

// Enabled implements [slog.Handler].
func (l *logs) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements [slog.Handler]. go-zero has no level for warnings: they are errors.
func (l *logs) Handle(ctx context.Context, r slog.Record) error {
	fields := append([]logx.LogField(nil), l.fields...)
	r.Attrs(func(a slog.Attr) bool { fields = append(fields, l.field(a)); return true })
	logger := logx.WithContext(ctx)
	if r.Level >= slog.LevelWarn {
		logger.Errorw(r.Message, fields...)
	} else {
		logger.Infow(r.Message, fields...)
	}
	return nil
}

func (l *logs) field(a slog.Attr) logx.LogField {
	return logx.Field(l.group+a.Key, a.Value.Resolve().Any())
}

// WithAttrs implements [slog.Handler].
func (l *logs) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := &logs{fields: append([]logx.LogField(nil), l.fields...), group: l.group}
	for _, a := range attrs {
		out.fields = append(out.fields, l.field(a))
	}
	return out
}

// WithGroup implements [slog.Handler].
func (l *logs) WithGroup(name string) slog.Handler {
	return &logs{fields: l.fields, group: l.group + name + "."}
}
