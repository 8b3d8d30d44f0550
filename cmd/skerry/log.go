package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/logstream"
)

// logs is where the process logs to: standard error, a rotated file when one is named,
// and followers over the API.
type logs struct {
	stream *logstream.Stream
	level  *slog.LevelVar
	file   *lumberjack.Logger
	stop   chan struct{}
}

const mebibyte = 1 << 20

func openLog(c *config.Config, stderr io.Writer) (*logs, error) {
	l := &logs{level: new(slog.LevelVar), stop: make(chan struct{})}
	l.setLevel(c.LogLevel)
	out := stderr
	if c.LogFile != "" {
		path := c.LogFile
		if strings.HasSuffix(path, "/") {
			path = filepath.Join(path, "skerry.log")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("log_file: %w", err)
		}
		l.file = &lumberjack.Logger{Filename: path, MaxBackups: max(c.LogRotateMaxFiles, 0)}
		if c.LogRotateBytes > 0 {
			// The library counts in MiB.
			l.file.MaxSize = max(c.LogRotateBytes/mebibyte, 1)
		}
		out = io.MultiWriter(stderr, l.file)
		if c.LogRotateDuration > 0 {
			go l.rotate(c.LogRotateDuration)
		}
	}
	opts := &slog.HandlerOptions{Level: l.level}
	var h slog.Handler = slog.NewTextHandler(out, opts)
	if c.LogJSON {
		h = slog.NewJSONHandler(out, opts)
	}
	l.stream = logstream.New(h)
	return l, nil
}

func (l *logs) rotate(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			_ = l.file.Rotate() // a file that cannot be rotated is written on
		}
	}
}

func (l *logs) setLevel(name string) {
	switch strings.ToLower(name) {
	case "trace", "debug":
		l.level.Set(slog.LevelDebug)
	case "warn":
		l.level.Set(slog.LevelWarn)
	case "err", "error":
		l.level.Set(slog.LevelError)
	default:
		l.level.Set(slog.LevelInfo)
	}
}

// Close ends the rotation and closes the file.
func (l *logs) Close() error {
	close(l.stop)
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
