package access

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// A line is bounded whatever a request holds, and by default old files go.
func TestAuditIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.json")
	a := must(OpenAudit(AuditConfig{Path: path, MaxBytes: 1 << 20}, slog.New(slog.DiscardHandler)))(t)
	t.Cleanup(func() { a.Close() })
	huge := strings.Repeat("ä", 450_000)
	act := skerry.Act{Time: time.Now(), From: huge, Method: huge, Path: "/" + huge, Status: 403, Reason: huge}
	a.Note(act)
	line := must(os.ReadFile(path))(t)
	var got skerry.Act
	if err := json.Unmarshal(line, &got); err != nil || len(line) > 8<<10 || got.PathBytes != len(act.Path) || !strings.HasPrefix(act.Path, got.Path) {
		t.Errorf("%v: a line of %d bytes: %.200s", err, len(line), line)
	}
	perFile := (1 << 20) / len(line)
	for range perFile * 2 * defaultFiles {
		a.Note(act)
	}
	most := int64(defaultFiles+1) << 20
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the library removes them beside
		total, files := int64(0), must(os.ReadDir(dir))(t)
		for _, f := range files {
			if fi, err := f.Info(); err == nil {
				total += fi.Size()
			}
		}
		if total <= most && len(files) <= defaultFiles+1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d files with %d bytes, more than %d", len(files), total, most)
		}
	}
}
