package node

import (
	"context"
	"time"

	"github.com/skerryhq/skerry/agent/watchdir"
	"github.com/skerryhq/skerry/heap"
)

// Role is the role of a process.
type Role uint8

const (
	AgentRole  Role = iota // owns the registrations of its host; its store is elsewhere, or there is none
	ServerRole             // holds a member of the store in its data folder
	DevRole                // a server that keeps nothing on disk
	PeerRole               // a server among several, which hold one catalog and one store
)

// part is a started part of a process.
type part struct {
	run  []func(context.Context) error // each until its context ends
	stop func() error                  // after all have returned; nil: nothing to do
}

// start makes a part from those before it.
type start func(*Node) (part, error)

// parts returns the parts of a role in the order of their start.
func (r Role) parts() []start {
	switch r {
	case DevRole:
		return dev()
	case ServerRole:
		return server()
	case PeerRole:
		return peer()
	default:
		return nodeAgent()
	}
}

func dev() []start {
	return []start{startJournal, startCatalog, startHub, startDrains, startCanary, startLink, startDatacenters, startOwners, startTemporaryMember, startDecided, startAccess, startFronts, startWatched, startHeap, startDoor}
}

func server() []start {
	return []start{startJournal, startCatalog, startCredentials, startHub, startDrains, startCanary, startLink, startDatacenters, startOwners, startMember, startDecided, startAdmission, startMove, startAccess, startFronts, startWatched, startHeap, startDoor}
}

func peer() []start {
	return []start{startJournal, startSharedCatalog, startCredentials, startHub, startDrains, startCanary, startBus, startDatacenters, startOwners, startSharedMember, startDecided, startAdmission, startMove, startAccess, startDistances, startFronts, startWatched, startHeap, startDoor}
}

func nodeAgent() []start {
	return []start{startJournal, startCatalog, startCredentials, startAttachment, startHub, startDrains, startOwners, startRemoteStore, startDecided, startAccess, startDistances, startFronts, startWatched, startHeap, startDoor}
}

// loop returns a runner that cannot fail.
func loop(run func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error {
		run(ctx)
		return nil
	}
}

func loops(run ...func(context.Context)) (out []func(context.Context) error) {
	for _, r := range run {
		out = append(out, loop(r))
	}
	return out
}

// every returns a runner that calls do again and again.
func every(d time.Duration, do func()) func(context.Context) {
	return func(ctx context.Context) {
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				do()
			}
		}
	}
}

// startWatched registers the files of the watched folder.
func startWatched(n *Node) (part, error) {
	w := n.cfg.Watched
	if w.Dir == "" {
		return part{}, nil
	}
	folder := watchdir.New(watchdir.Config{Dir: w.Dir, Agent: n.kept.agent, Parse: w.Parse, Log: n.log})
	return part{run: loops(folder.Run)}, nil
}

// startHeap lets the heap grow under load.
func startHeap(*Node) (part, error) { return part{run: loops(heap.Run)}, nil }
