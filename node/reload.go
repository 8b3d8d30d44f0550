package node

import (
	"context"
	"fmt"

	"github.com/skerryhq/skerry/tongue/consul"
)

// Reload reads the configuration again and applies the settings that can change in a
// running process. It does not touch unchanged registrations.
func (n *Node) Reload() error {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	next, err := n.reload()
	if err != nil {
		return fmt.Errorf("reload: the configuration is not valid, the old one stays in force: %w", err)
	}
	t, err := consul.New(next.Consul, n.fronts.backend, n.fronts.requests)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := n.door.Reload(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := n.kept.agent.Configure(context.Background(), next.Agent.Services, next.Agent.NodeChecks); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	n.reloadTokens(next.ACL)
	n.creds.reread()
	n.fronts.consul.tongue.Store(t)
	n.door.SetHosts(n.hosts(&next))
	n.shown.Set(next.Shown)
	n.fronts.dns.Reload(next.DNS)
	n.fronts.askers.reload(next.DNS)
	if next.Applied != nil {
		next.Applied()
	}
	n.log.Info("configuration reloaded", "services", len(next.Agent.Services))
	return nil
}
