package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/quorum"
)

// voting is the servers over which a majority is counted: those with a vote in the quorum
// store.
type voting struct {
	Voters []cluster.ServerID
	Of     int // with those whose names are not known yet
}

const (
	// votingFile has the servers with a vote as this one saw them last: they count from the
	// start, before the store is open.
	votingFile = "voters.json"
	// votingEvery is the time between two looks at the list of votes.
	votingEvery = time.Second
	// leastOf is the number of servers that the majority is counted over on one that joins
	// a cluster and knows none of its servers yet: alone it is in a minority.
	leastOf = 2
)

// lastVoting returns the servers with a vote as this one saw them last.
func (n *Node) lastVoting() (voting, error) {
	if err := files.MakeFolder(n.serverFile(""), 0o700); err != nil {
		return voting{}, fmt.Errorf("data_dir: %w", err)
	}
	var v voting
	there, err := readKept(n.serverFile(votingFile), &v, writtenAgain)
	switch {
	case err != nil:
		return voting{}, err
	case !there:
		return n.firstVoting()
	}
	return v, nil
}

// firstVoting is lastVoting of a server that saw no list yet.
func (n *Node) firstVoting() (voting, error) {
	expect := n.cfg.Cluster.Expect
	alone, err := quorum.WasAlone(n.memberFolder())
	if alone || err != nil || expect == 1 {
		return voting{[]cluster.ServerID{cluster.ServerID(n.cfg.Self.Name)}, 1}, err
	}
	return voting{Of: max(expect, leastOf)}, nil
}

// noteVoting passes a changed list of votes to the registry, and keeps it on disk.
func (n *Node) noteVoting() {
	ms, err := n.store.kv.Members()
	if err != nil {
		return
	}
	var v voting
	for _, m := range ms.List() {
		if m.Learner {
			continue
		}
		v.Of++
		switch {
		case m.Self: // a member that was alone had another name
			v.Voters = append(v.Voters, cluster.ServerID(n.cfg.Self.Name))
		case m.Name != "":
			v.Voters = append(v.Voters, cluster.ServerID(m.Name))
		}
	}
	slices.Sort(v.Voters)
	if was := n.among.voting; was.Of == v.Of && slices.Equal(was.Voters, v.Voters) || v.Of == 0 {
		return
	}
	n.among.voting = v
	n.registry.SetMembers(v.Voters, v.Of)
	if err := writeKept(n.serverFile(votingFile), v); err != nil {
		n.log.Error("the list of the servers with a vote cannot be kept: make room, or mend the data folder", "error", err)
	}
	n.log.Info("the majority of the servers is counted over those with a vote in the quorum store", "servers", v.Voters, "of", v.Of)
}
