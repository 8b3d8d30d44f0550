package cluster

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Pos is a position in a server's log.
type Pos struct {
	Life Life
	Seq  uint64
}

// before reports whether p lies before q.
func (p Pos) before(q Pos) bool { return p.Life < q.Life || p.Life == q.Life && p.Seq < q.Seq }

// Message is one of the types below.
type Message interface{ message() }

// Log carries the records that a server accepted, in the order of their positions.
type Log struct {
	First   Pos // of Records[0]
	Records []Record
}

// Tick is a server's sign of life for its peers, with the servers that it hears and its
// positions.
type Tick struct {
	Head  Pos
	Hears []ServerID       // the servers that it hears, itself among them
	Seen  map[ServerID]Pos // of others' logs
	Sum   uint64           // over all owners
	// Horizon is up to when the sender has forgotten the owners that ended, in units of the
	// Unix time that are the 24th part of Timing.Forget.
	Horizon int64
	Speaks  Range  // versions of the protocol; zero: the first alone
	Cluster string // of the sender; empty: it knows none yet
	Store   Mark   // of the sender's member of the quorum store
}

// Mark is how far a member of the quorum store has come. Servers tell it to each other
// for their operators.
type Mark struct{ Term, Index uint64 }

// Heard names owners whose beats landed at a server that is not their home. It is sent
// again until HeardOK names them. N counts the sender's Heard messages.
type Heard struct {
	Owners []skerry.OwnerID
	N      uint64
}

// HeardOK names the owners of the Heard message N that their home counted.
type HeardOK struct {
	Owners []skerry.OwnerID
	N      uint64
}

// Release asks the home of owners to end the guard's holds of them. It is sent again until
// they are held no more.
type Release struct{ Owners []skerry.OwnerID }

// Ask asks for a log after a position. The answer is a Log, or Sums if it does not reach
// back so far.
type Ask struct{ After Pos }

// Sums has the sums of all buckets, and the positions that they stand for.
type Sums struct {
	Buckets []uint64
	Seen    map[ServerID]Pos
	Doubts  bool // the sender was away for long, or started lately, and lacks owners
	Partial bool // owners that it doubts are left out
}

// Want asks for the owners of buckets. Repair is a number of the sender, which the answers
// of this repair carry.
type Want struct {
	Buckets []int
	Repair  uint64
}

// Owned names the owners of buckets with their registers, without their sets.
type Owned struct {
	Records []Record
	Repair  uint64
}

// Fetch asks for owners with their sets. Repair is 0 if it belongs to no repair.
type Fetch struct {
	Owners []skerry.OwnerID
	Repair uint64
}

// Fetched answers Fetch. The sender's surroundings may split it, in order, into several
// with the same Repair. The positions that a repair stands for are taken when the last part
// has come and none is missing.
type Fetched struct {
	Records     []Record
	Repair      uint64
	Part, Parts int // Part counts from 0; both are 0 if there is one part
}

func (Log) message()     {}
func (Tick) message()    {}
func (Heard) message()   {}
func (HeardOK) message() {}
func (Release) message() {}
func (Ask) message()     {}
func (Sums) message()    {}
func (Want) message()    {}
func (Owned) message()   {}
func (Fetch) message()   {}
func (Fetched) message() {}
func (HeadAsk) message() {}
func (Head) message()    {}

// Envelope is a message on its way. To is empty for a message to all peers.
type Envelope struct {
	To      ServerID
	Message Message
}

// Change is what the catalog has to show from now on.
type Change struct {
	Record
	Show  bool         // its set is shown; else it is removed
	Cause skerry.Cause // of a removal
	Held  bool         // the guard holds it
}

// Ready is what a step has led to.
type Ready struct {
	Send     []Envelope
	Changes  []Change
	Refused  []Refused // peers that were refused, once for each of their lives
	Diverged int       // differences that were found although nothing was under way
}

// HeadAsk asks for the head of a log. N is a number of the sender's, which the answer carries.
type HeadAsk struct{ N uint64 }

// Head answers HeadAsk with the position up to which the sender's log goes.
type Head struct {
	N   uint64
	Pos Pos
}

// Attach makes a server the home of an owner.
type Attach struct {
	Owner   skerry.OwnerID
	Kind    skerry.OwnerKind
	TTL     time.Duration
	Version skerry.Version
	Digest  uint64
	Attach  uint64 // one more than at the attachment before, within the epoch of Version
	Grants  *Grants
}

// Attached answers Attach. Known and KnownAttach are greater than the owner's own when it
// has to go above them and attach again.
type Attached struct {
	Owner       skerry.OwnerID
	Attach      uint64
	OK          bool
	Want        bool // send the whole set
	Known       skerry.Version
	KnownAttach uint64
	Owners      int    // of the server: so many move when it dies
	Minority    bool   // as in Beaten
	Refused     string // why the owner may not attach; the other fields are empty then
}

// Announce carries a change of an owner, or its whole set. Grants has the tokens of the instances in it.
type Announce struct {
	Record
	Grants *Grants
}

// Told answers Announce.
type Told struct {
	Owner   skerry.OwnerID
	Version skerry.Version // that the server has
	Want    bool           // send the whole set
	Again   bool           // likewise, under a new version: the server judges its services otherwise than before
	Refused []Refusal      // all services that are left out
}

// Beat is the sign of life of an owner that has a set with this digest.
type Beat struct {
	Owner         skerry.OwnerID
	Epoch, Attach uint64
	Digest        uint64
}

// Beaten answers Beat.
type Beaten struct {
	Owner    skerry.OwnerID
	OK       bool
	Want     bool // send the whole set
	Reattach bool // this server is not the home, or of an earlier attachment
	Minority bool // this server judges no owner, and no new one should attach
	Again    bool // as in Told
}

// Access carries the index of the tokens and policies at a server to the owners that are attached to it.
type Access struct{ Index uint64 }

// Authorities carries the pins of the authorities that a server trusts to the owners that are attached to it, while they change.
type Authorities struct{ Pins []string }

func (Attach) message()   {}
func (Attached) message() {}
func (Announce) message() {}
func (Told) message()     {}
func (Beat) message()     {}
func (Beaten) message()   {}
func (Access) message()   {}

func (Authorities) message() {}
