package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shelf keeps values by key, the way keepers do: changed and appended under one lock.
type shelf struct {
	mu     sync.Mutex
	values map[string]int
}

type entry struct {
	Key   string `json:"key"`
	Value int    `json:"value"` // 0: gone
}

func (s *shelf) Replay(record []byte) error {
	var e entry
	if err := json.Unmarshal(record, &e); err != nil {
		return err
	}
	s.set(e)
	return nil
}

func (s *shelf) set(e entry) {
	if s.values == nil {
		s.values = map[string]int{}
	}
	if s.values[e.Key] = e.Value; e.Value == 0 {
		delete(s.values, e.Key)
	}
}

func (s *shelf) Snapshot(write func(any) error) error {
	s.mu.Lock()
	values := maps.Clone(s.values)
	s.mu.Unlock()
	for k, v := range values {
		if err := write(entry{k, v}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) put(l *Ledger, name string, e entry) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(e)
	return l.Append(name, e)
}

func openShelves(t *testing.T, dir string, names ...string) (*Ledger, map[string]*shelf, *bytes.Buffer) {
	t.Helper()
	shelves, keepers := map[string]*shelf{}, map[string]Keeper{}
	for _, n := range names {
		shelves[n] = &shelf{}
		keepers[n] = shelves[n]
	}
	var log bytes.Buffer
	l, err := OpenLedger(dir, keepers, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, shelves, &log
}

func TestCompactionsUnderConcurrentAppendsConverge(t *testing.T) {
	dir := t.TempDir()
	l, shelves, _ := openShelves(t, dir, "a", "b")
	var writers, compactor sync.WaitGroup
	for name, s := range shelves {
		for w := range 4 {
			writers.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), 1))
				for i := range 400 {
					b := s.put(l, name, entry{fmt.Sprint("k", rng.IntN(20)), rng.IntN(3) * (i + 1)})
					if i%50 == 0 {
						if err := b.Wait(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	done := make(chan struct{})
	compactor.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := l.Compact(); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	close(done)
	compactor.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, again, _ := openShelves(t, dir, "a", "b")
	for name := range shelves {
		if !maps.Equal(again[name].values, shelves[name].values) {
			t.Errorf("%s is %v after a restart, was %v", name, again[name].values, shelves[name].values)
		}
	}
}

func TestDamageInTheMiddleCostsOnlyItself(t *testing.T) {
	dir := t.TempDir()
	l, shelves, _ := openShelves(t, dir, "a")
	for i := range 100 {
		shelves["a"].put(l, "a", entry{fmt.Sprint("k", i), i + 1})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines[50][20] ^= 1 // a flipped bit
	copy(lines[70], make([]byte, 8))
	lines[80] = append(lines[80][:len(lines[80])-1], ' ') // two lines become one
	if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	l, again, log := openShelves(t, dir, "a")
	for i := range 100 {
		want := i + 1
		if i == 50 || i == 70 || i == 80 || i == 81 {
			want = 0
		}
		if got := again["a"].values[fmt.Sprint("k", i)]; got != want {
			t.Errorf("k%d is %d, want %d", i, got, want)
		}
	}
	if !strings.Contains(log.String(), "damaged lines were left out") {
		t.Errorf("the log does not tell: %s", log.String())
	}
	if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
		t.Errorf("copies of the damaged file: %v", aside)
	}
	// It was compacted: the next start finds no damage.
	l.Close()
	_, third, log := openShelves(t, dir, "a")
	if !maps.Equal(third["a"].values, again["a"].values) || log.Len() > 0 {
		t.Errorf("the damage is still there: %s", log.String())
	}
}

func TestWithoutFolderNothingIsKept(t *testing.T) {
	l, shelves, _ := openShelves(t, "", "a")
	if err := shelves["a"].put(l, "a", entry{"k", 1}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.Broken() != nil || l.Size() != 0 || l.Syncs() != 0 || l.Compact() != nil || l.Close() != nil {
		t.Error("a ledger without folder fails")
	}
}

func TestRecordsOfStrangersAreSetAside(t *testing.T) {
	dir := t.TempDir()
	l, shelves, _ := openShelves(t, dir, "a", "b")
	shelves["a"].put(l, "a", entry{"k", 1})
	shelves["b"].put(l, "b", entry{"k", 2})
	l.Close()
	_, again, log := openShelves(t, dir, "a")
	if again["a"].values["k"] != 1 || !strings.Contains(log.String(), "lines=1") {
		t.Errorf("%v, log %s", again["a"].values, log.String())
	}
}

func TestAnUnmarshalableRecordIsRefused(t *testing.T) {
	l, _, _ := openShelves(t, t.TempDir(), "a")
	if err := l.Append("a", func() {}).Wait(t.Context()); err == nil {
		t.Error("a record that is no JSON was acknowledged")
	}
}

func TestRunMendsABrokenJournalAndKeepsItShort(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, shelves, log := openShelves(t, dir, "a")
		go l.Run(t.Context())
		breakFile(l.journal)
		if err := shelves["a"].put(l, "a", entry{"k", 1}).Wait(t.Context()); err == nil {
			t.Error("an append to a closed file was acknowledged")
		}
		for l.Broken() != nil {
			<-time.After(time.Second) // the bubble's
			synctest.Wait()
		}
		if err := shelves["a"].put(l, "a", entry{"k2", 2}).Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "works again") {
			t.Errorf("log %s", log.String())
		}
		big := strings.Repeat("x", 1<<20)
		for i := range 10 {
			shelves["a"].put(l, "a", entry{big, i + 1})
		}
		for l.Size() > 3<<20 {
			<-time.After(time.Second)
			synctest.Wait()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		_, again, _ := openShelves(t, dir, "a")
		if again["a"].values["k"] != 1 || again["a"].values["k2"] != 2 || again["a"].values[big] != 10 {
			t.Error("values were lost")
		}
	})
}
