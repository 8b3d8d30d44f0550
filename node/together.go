package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/files"
)

// together is the last moment at which this server was up with a majority.
type together struct{ At time.Time }

const (
	togetherFile = "together.json"
	// togetherEvery is the time between two writes of the file after the first: short beside
	// [cluster.RestoreWithin].
	togetherEvery = 5 * time.Minute
)

// wasAway reports whether this server, one of several, was without a majority for longer than
// owners that ended are remembered.
func (n *Node) wasAway(of int) (bool, error) {
	path := n.serverFile(togetherFile)
	text, err := files.ReadKept(path, files.MaxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it is of an earlier release, or starts for the first time
	}
	var last together
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w; if it is damaged, remove it: it is written again", path, err)
	}
	ago := time.Since(last.At)
	if of < 2 || ago <= cluster.RestoreWithin {
		return false, nil
	}
	n.log.Warn("this server was without a majority for long: it restores no lease from its disk, since their owners may have ended", "last_majority", last.At)
	return true, nil
}

// noteTogether keeps on disk when this server was up with a majority last.
func (n *Node) noteTogether() {
	at := n.among.registry.Together()
	if at.IsZero() || at.Sub(n.among.together) < togetherEvery {
		return
	}
	text, err := json.Marshal(together{at})
	if err == nil {
		err = files.Replace(n.serverFile(togetherFile), text)
	}
	if err != nil {
		n.log.Error("the time of the last majority cannot be kept: make room, or mend the data folder", "error", err)
		return
	}
	n.among.together = at
}
