package node

import (
	"fmt"
	"slices"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
)

// agentsKept is the agents that were attached to this server. After a start reads of the catalog wait for them:
// their services would look removed.
type agentsKept struct{ Attached []skerry.OwnerID }

const (
	agentsFile = "agents.json"
	// maxAgentsKept bounds the file. Those that are not in it come as soon as the others.
	maxAgentsKept = 200
)

// lastAgents returns the agents that were attached to this server before its start.
func (n *Node) lastAgents() ([]skerry.OwnerID, error) {
	if n.cfg.DataDir == "" || n.cfg.Cluster.ServerPort == 0 {
		return nil, nil
	}
	if err := files.MakeFolder(n.serverFile(""), 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	var last agentsKept
	_, err := readKept(n.serverFile(agentsFile), &last, writtenAgain)
	n.agents = last.Attached
	return last.Attached, err
}

// noteAgents keeps on disk which agents are attached to this server.
func (n *Node) noteAgents() {
	select {
	case <-n.registry.Settled():
	default:
		return // some are awaited
	}
	now := n.registry.Agents()
	slices.Sort(now)
	now = now[:min(len(now), maxAgentsKept)]
	if n.cfg.DataDir == "" || slices.Equal(now, n.agents) {
		return
	}
	if err := writeKept(n.serverFile(agentsFile), agentsKept{now}); err != nil {
		n.log.Error("the list of the agents cannot be kept: make room, or mend the data folder", "error", err)
		return
	}
	n.agents = now
}
