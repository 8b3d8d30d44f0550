package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Keeper is one of the parts that share a ledger. Its records are absolute
// ("service web-1 is now …"): replaying an old record and then the newer ones
// ends where the newer ones alone would.
type Keeper interface {
	// Replay takes a record back at the start.
	Replay(record []byte) error
	// Snapshot writes records that replay to the present state.
	Snapshot(write func(record any) error) error
}

// Ledger is one journal shared by several keepers, each under a name of its own:
// a line reads {"agent":{…}}. With no folder it keeps nothing, and every append
// is done at once.
type Ledger struct {
	journal *Journal
	keepers map[string]Keeper
	log     *slog.Logger

	mu      sync.Mutex // one compaction at a time
	compact int64      // size at which the next compaction is worth it
}

// compactAbove is the least size in bytes at which a journal is compacted; above
// it, at twice the size that the last compaction left.
const compactAbove = 8 << 20

// OpenLedger opens the journal in dir ("": keep nothing) and replays it to the keepers.
func OpenLedger(dir string, keepers map[string]Keeper, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{keepers: keepers, log: log, compact: compactAbove}
	if dir == "" {
		return l, nil
	}
	j, report, err := Open(dir, l.replay)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	l.journal = j
	if report.Torn {
		log.Info("journal: the last write before the stop was not complete; it was not acknowledged and was cut off")
	}
	if report.Damaged > 0 {
		log.Error("journal: damaged lines were left out", "lines", report.Damaged, "copy", report.Aside)
		if err := l.Compact(); err != nil {
			j.Close()
			return nil, fmt.Errorf("compact damaged journal: %w", err)
		}
	}
	return l, nil
}

func (l *Ledger) replay(line []byte) error {
	name, record, ok := splitRecord(line)
	if !ok {
		return fmt.Errorf("not a ledger record")
	}
	k := l.keepers[name]
	if k == nil {
		return fmt.Errorf("a record for %q, which has no keeper", name)
	}
	return k.Replay(record)
}

// splitRecord takes {"name":record} apart without parsing the record.
func splitRecord(line []byte) (name string, record []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"`))
	if !ok {
		return "", nil, false
	}
	key, rest, ok := bytes.Cut(rest, []byte(`":`))
	if !ok || !bytes.HasSuffix(rest, []byte("}")) {
		return "", nil, false
	}
	return string(key), rest[:len(rest)-1], true
}

func joinRecord(name string, record any) ([]byte, error) {
	body, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	line := make([]byte, 0, len(name)+len(body)+5)
	line = append(append(append(line, `{"`...), name...), `":`...)
	return append(append(line, body...), '}'), nil
}

// Append adds a record of the named keeper.
func (l *Ledger) Append(name string, record any) *Batch {
	if l.journal == nil {
		return finished(nil)
	}
	line, err := joinRecord(name, record)
	if err != nil {
		return finished(err)
	}
	return l.journal.Append(line)
}

// Broken returns why nothing can be made durable now, or nil.
func (l *Ledger) Broken() error {
	if l.journal == nil {
		return nil
	}
	return l.journal.Broken()
}

// Size and Syncs are the journal's, for metrics.
func (l *Ledger) Size() int64 {
	if l.journal == nil {
		return 0
	}
	return l.journal.Size()
}

// Syncs returns the number of syncs of the journal so far.
func (l *Ledger) Syncs() uint64 {
	if l.journal == nil {
		return 0
	}
	return l.journal.Syncs()
}

// Compact writes the keepers' present state as a new journal. A snapshot may be
// newer than the cut: the records after the cut are replayed on top of it, and
// being absolute they do no harm.
func (l *Ledger) Compact() error {
	if l.journal == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.journal.Compact()
	if err != nil {
		return err
	}
	for name, k := range l.keepers {
		err := k.Snapshot(func(record any) error {
			line, err := joinRecord(name, record)
			if err != nil {
				return err
			}
			return c.Write(line)
		})
		if err != nil {
			c.Abort()
			return err
		}
	}
	if err := c.Commit(); err != nil {
		return err
	}
	l.compact = max(compactAbove, 2*l.journal.Size())
	return nil
}

// Run compacts when it is worth it, and when a failed write has to be mended,
// until ctx ends.
func (l *Ledger) Run(ctx context.Context) {
	if l.journal == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		broken := l.journal.Broken()
		if broken == nil && l.journal.Size() < l.threshold() {
			continue
		}
		if err := l.Compact(); err != nil {
			l.log.Error("journal: compaction failed; registrations are refused until it succeeds", "error", err, "broken", broken)
		} else if broken != nil {
			l.log.Info("journal: writing works again", "was", broken)
		}
	}
}

func (l *Ledger) threshold() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.compact
}

// Close makes the appended records durable.
func (l *Ledger) Close() error {
	if l.journal == nil {
		return nil
	}
	return l.journal.Close()
}
