package node

import (
	"encoding/json"
	"sync"

	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/journal"
)

// indexKeeper notes the last index now and then, so that the next start begins above it
// even if the clock went back. It writes a note when the index has moved by a stride, so
// an idle server writes nothing.
type indexKeeper struct {
	mu     sync.Mutex
	ledger *journal.Ledger
	table  *catalog.Table
	noted  uint64
}

const (
	indexKeeperName = "index"
	indexStride     = 1 << 24
)

// last returns an upper bound of the indexes of earlier runs; 0 without any.
func (k *indexKeeper) last() uint64 {
	if k.noted == 0 {
		return 0
	}
	return k.noted + indexStride
}

func (k *indexKeeper) start(l *journal.Ledger, t *catalog.Table) {
	k.mu.Lock()
	k.ledger, k.table, k.noted = l, t, 0
	k.mu.Unlock()
	k.note()
}

func (k *indexKeeper) note() {
	index := k.table.Index()
	k.mu.Lock()
	defer k.mu.Unlock()
	if index >= k.noted+indexStride/2 {
		k.noted = index
		k.ledger.Append(indexKeeperName, index)
	}
}

// Replay implements [journal.Keeper].
func (k *indexKeeper) Replay(record []byte) error {
	var index uint64
	if err := json.Unmarshal(record, &index); err != nil {
		return err
	}
	k.noted = max(k.noted, index)
	return nil
}

// Snapshot implements [journal.Keeper].
func (k *indexKeeper) Snapshot(write func(any) error) error {
	k.mu.Lock()
	noted := k.noted
	k.mu.Unlock()
	return write(noted)
}
