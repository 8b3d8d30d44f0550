package bus_test

import (
	"log/slog"

	"github.com/skerryhq/skerry/test/testlog"
)

// testlogger keeps what is logged.
type testlogger struct{ testlog.Log }

func (l *testlogger) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&l.Log, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
