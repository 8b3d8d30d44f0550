package node

import (
	"github.com/prometheus/client_golang/prometheus"
)

func (n *Node) registerMetrics() {
	gauge := func(name, help string, f func() float64) {
		n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	n.metrics.MustRegister(n.store.kv, n.store.decided)
	switch c := n.control; {
	case c == nil:
	case c.remote != nil:
		n.metrics.MustRegister(c.remote)
	default:
		n.metrics.MustRegister(c.store)
		if c.replicator != nil {
			n.metrics.MustRegister(c.replicator)
		}
		if c.far != nil {
			n.metrics.MustRegister(c.far)
		}
	}
	gauge("skerry_journal_bytes", "Size of the journal.", func() float64 { return float64(n.kept.ledger.Size()) })
	gauge("skerry_journal_syncs_total", "Syncs of the journal since the start.", func() float64 { return float64(n.kept.ledger.Syncs()) })
	gauge("skerry_catalog_index", "The last index issued.", func() float64 { return float64(n.table.Index()) })
	gauge("skerry_catalog_services", "Service names in the catalog.", func() float64 { return float64(len(n.table.Services())) })
	gauge("skerry_catalog_nodes", "Nodes in the catalog.", func() float64 { return float64(len(n.table.Nodes())) })
	gauge("skerry_catalog_guarded_owners", "Silent owners that the guard holds.", func() float64 { return float64(n.table.Held()) })
	if n.control != nil && n.control.dryRun != nil {
		gauge("skerry_acl_would_refuse_total", "Decisions that would have been refusals without acl.dry_run.", func() float64 { return float64(n.control.dryRun.Refused()) })
	}
	gauge("skerry_agent_services", "Instances registered at this node's agent.", func() float64 { return float64(len(n.kept.agent.Instances())) })
}
