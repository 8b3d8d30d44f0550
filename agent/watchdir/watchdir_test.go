package watchdir

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/agent"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/registry"
)

// watching returns a folder whose files consist of a service's name, and a function that
// looks at it and returns the services and the log.
func watching(t *testing.T) (dir string, look func() ([]string, string)) {
	t.Helper()
	dir = t.TempDir()
	var log bytes.Buffer
	quiet := slog.New(slog.DiscardHandler)
	a := agent.New(agent.Config{Owner: "agent/n", Node: skerry.Node{Name: "n"}, Log: quiet})
	ledger, err := journal.OpenLedger("", map[string]journal.Keeper{agent.KeeperName: a}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(ledger, registry.New(registry.Config{Self: "n", Members: []cluster.ServerID{"n"}, Table: catalog.New(catalog.Config{}), Log: quiet})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		ledger.Close()
	})
	f := New(Config{
		Dir: dir, Agent: a, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Parse: func(name string, data []byte) ([]skerry.Registration, []skerry.CheckDefinition, error) {
			return []skerry.Registration{{Instance: &skerry.Instance{ID: name, Service: strings.TrimSpace(string(data[:min(len(data), 20)]))}}}, nil, nil
		},
	})
	w := f.newWatched()
	return dir, func() ([]string, string) {
		t.Helper()
		done := make(chan struct{})
		go func() { defer close(done); f.look(t.Context(), w) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("looking at the folder hangs")
		}
		names := []string{}
		for _, i := range a.Instances() {
			names = append(names, i.Service)
		}
		slices.Sort(names)
		defer log.Reset()
		return names, log.String()
	}
}

func TestWatchDirTakesRegularFilesOnly(t *testing.T) {
	dir, look := watching(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("a.json"), []byte("a"), 0o600))
	must(os.MkdirAll(at("..data"), 0o700)) // as Kubernetes mounts a ConfigMap
	must(os.WriteFile(at("..data/b.json"), []byte("b"), 0o600))
	must(os.Symlink("..data/b.json", at("b.json")))
	elsewhere := filepath.Join(t.TempDir(), "c.conf")
	must(os.WriteFile(elsewhere, []byte("c"), 0o600))
	must(os.Symlink(elsewhere, at("c.json")))
	if names, log := look(); fmt.Sprint(names) != "[a b c]" || log != "" {
		t.Fatalf("%v, %s", names, log)
	}
	for name, put := range map[string]func(path string) error{
		"a device": func(p string) error { return os.Symlink("/dev/zero", p) },
		"a pipe":   func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"a folder": func(p string) error { return os.Symlink(dir, p) },
		"bytes":    func(p string) error { return os.WriteFile(p, make([]byte, maxDropped+1), 0o600) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		must(os.Remove(at("a.json")))
		must(put(at("a.json")))
		names, log := look()
		if fmt.Sprint(names) != "[a b c]" || strings.Count(log, "\n") != 1 || !strings.Contains(log, at("a.json")) || !strings.Contains(log, name) {
			t.Errorf("%s: %v; want a, b, c and one line that names it:\n%s", name, names, log)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
			t.Errorf("%s took %d bytes", name, took)
		}
		if _, log := look(); log != "" {
			t.Errorf("%s is logged again: %s", name, log)
		}
	}
	must(os.Remove(at("a.json")))
	if names, _ := look(); fmt.Sprint(names) != "[b c]" {
		t.Errorf("%v are left, want b and c", names)
	}
}

func TestWatchDirTakesSoManyFiles(t *testing.T) {
	dir, look := watching(t)
	for i := range maxDroppedFiles + 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.json", i)), []byte("s"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, log := look()
	if len(names) != maxDroppedFiles || strings.Count(log, "more than 1024 service files") != 2 {
		t.Errorf("%d services, %s", len(names), log)
	}
	for i := range 70 { // a megabyte each
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.json", i)), append([]byte("large"), bytes.Repeat([]byte(" "), 1e6)...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, log := look(); !strings.Contains(log, "bytes together") {
		t.Errorf("no word of 70 MB: %s", log)
	}
}
