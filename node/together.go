package node

import (
	"time"

	"github.com/skerryhq/skerry/cluster"
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
	var last together
	there, err := readKept(n.serverFile(togetherFile), &last, writtenAgain)
	if err != nil || !there { // without the file it is of an earlier release, or starts for the first time
		return false, err
	}
	if of < 2 || time.Since(last.At) <= cluster.RestoreWithin {
		return false, nil
	}
	n.log.Warn("this server was without a majority for long: it restores no lease from its disk, since their owners may have ended", "last_majority", last.At)
	return true, nil
}

// noteTogether keeps on disk when this server was up with a majority last.
func (n *Node) noteTogether() {
	at := n.registry.Together()
	if at.IsZero() || at.Sub(n.among.together) < togetherEvery {
		return
	}
	if err := writeKept(n.serverFile(togetherFile), together{at}); err != nil {
		n.log.Error("the time of the last majority cannot be kept: make room, or mend the data folder", "error", err)
		return
	}
	n.among.together = at
}
