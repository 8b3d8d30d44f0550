package quorum

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// What etcd says of what it tries again until it works is not told; all else is, with
// what it knows.
func TestLog(t *testing.T) {
	var out strings.Builder
	log := zapTo(slog.New(slog.NewTextHandler(&out, nil)), nil)
	log.Error("failed to update storage version", zap.Error(errors.New("missing term information")))
	log.Info("serving")
	if out.Len() > 0 {
		t.Errorf("told: %s", out.String())
	}
	log.With(zap.String("member", "a")).Error("failed to write", zap.Int("bytes", 3))
	log.Warn("slow")
	for _, want := range []string{`level=ERROR msg="etcd: failed to write"`, "member=a", "bytes=3", `level=WARN msg="etcd: slow"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not told: %s", want, out.String())
		}
	}
}
