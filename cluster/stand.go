// Package cluster is the protocol by which servers hold one catalog: messages, the clock
// and chance go in, messages and changes come out. It has no socket, goroutine, lock or
// clock of its own, so that package sim can play it through seeded schedules. DESIGN.md has
// the rules.
package cluster

import (
	"cmp"
	"time"

	"github.com/skerryhq/skerry"
)

// ServerID is the node name of a server, unique in its datacenter.
type ServerID string

// Life is one run of a server: milliseconds of the Unix time at its start, greater at
// every start unless its clock went back.
type Life uint64

// State is how a server counts an owner. Of two at the same bid the milder one wins.
type State uint8

// The states, the mildest last.
const (
	Lost State = iota // its silence was judged: its set is not shown
	Held              // it is silent, and the guard shows its set as it was
	Live
)

// Stand names the server that answers for an owner's life, and what that server found. It
// is ordered by all fields but By, in their order.
type Stand struct {
	Epoch, Attach uint64 // of the owner, and its attachments within the epoch
	Bid           uint32 // every loss, hold and contest adds one
	State         State
	Home          ServerID // it answers for the owner
	By            ServerID // it judged; not compared
}

// Compare orders stands: the greatest wins, by any path that it comes.
func (s Stand) Compare(t Stand) int {
	return cmp.Or(
		cmp.Compare(s.Epoch, t.Epoch), cmp.Compare(s.Attach, t.Attach), cmp.Compare(s.Bid, t.Bid),
		cmp.Compare(s.State, t.State), cmp.Compare(s.Home, t.Home))
}

// Less reports whether t wins over s.
func (s Stand) Less(t Stand) bool { return s.Compare(t) < 0 }

// attached reports whether the owner ever had a home.
func (s Stand) attached() bool { return s.Attach > 0 }

// Record is what servers tell each other of one owner. Version and Stand are two
// registers; each merges by itself, the greatest wins.
type Record struct {
	Owner   skerry.OwnerID
	Kind    skerry.OwnerKind
	TTL     time.Duration
	Version skerry.Version
	Digest  uint64
	Gone    bool // withdrawn, as a version of its own
	Stand   Stand
	Ended   int64 // when it was withdrawn or lost, in milliseconds of the Unix time; 0: it lives

	// At most one of Delta and Set is there. Without either only the stand moved, or the
	// set is to be fetched.
	Base  skerry.Version
	Delta *skerry.Delta
	Set   *skerry.Set
	// Attach asks the sender's surroundings to put the present set in before sending. It is
	// set in Fetched, in Announce, and in a Log for an owner that others took for lost.
	Attach bool
}
