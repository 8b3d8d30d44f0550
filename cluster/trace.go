package cluster

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Trace asks whether a version of an owner is in the catalog of the receiver, and in the views of the agents that follow
// there. N is a number of the sender's, which the answers carry. The core does not take part in it.
type Trace struct {
	N       uint64
	Owner   skerry.OwnerID
	Version skerry.Version
	Service string // that changed; empty: any agent may be asked
}

// Traced answers Trace once the version is in the sender's catalog.
type Traced struct{ N uint64 }

// TracedAgents answers Trace with the agents that were asked: how long they took from when the sender had the version, and those
// that did not answer in time.
type TracedAgents struct {
	N    uint64
	Took map[string]time.Duration // by node
	Late []string
}

func (Trace) message()        {}
func (Traced) message()       {}
func (TracedAgents) message() {}
