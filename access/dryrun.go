package access

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
)

// DryRun allows requests that another gate would refuse, and logs them: once a minute for
// the same token and resource.
type DryRun struct {
	gate    skerry.Gate
	log     *slog.Logger
	refused atomic.Uint64

	mu    sync.Mutex
	since time.Time
	told  map[refusal]struct{}
}

type refusal struct {
	accessor, name string
	resource       skerry.Resource
	access         skerry.Access
}

// The bounds of the refusals that are logged within one tellEvery.
const (
	tellEvery = time.Minute
	maxTold   = 1000
)

// NewDryRun returns a gate that only logs the refusals of g.
func NewDryRun(g skerry.Gate, log *slog.Logger) *DryRun {
	return &DryRun{gate: g, log: log, told: map[refusal]struct{}{}}
}

// Default implements [skerry.Gate]: nothing is refused.
func (d *DryRun) Default() skerry.Access { return skerry.AccessWrite }

// Hides implements [skerry.Gate]: nothing is hidden.
func (d *DryRun) Hides() bool { return false }

// Changed implements [skerry.Gate].
func (d *DryRun) Changed() <-chan struct{} { return d.gate.Changed() }

// Refused is how many decisions would have been refusals.
func (d *DryRun) Refused() uint64 { return d.refused.Load() }

// Identify implements [skerry.Gate]. An unknown secret counts as the anonymous token.
func (d *DryRun) Identify(secret string) (skerry.Identity, error) {
	who, err := d.gate.Identify(secret)
	if err != nil && skerry.KindOf(err) == skerry.Denied {
		d.tell(refusal{accessor: "unknown"}, err.Error())
		who, err = d.gate.Identify("")
	}
	if err != nil {
		return nil, err
	}
	return watched{who, d}, nil
}

func (d *DryRun) tell(r refusal, rule string) {
	d.refused.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.since) >= tellEvery {
		d.since = now
		clear(d.told)
	}
	if _, ok := d.told[r]; ok || len(d.told) >= maxTold {
		return
	}
	d.told[r] = struct{}{}
	d.log.Warn("access control would refuse this", "accessor", r.accessor, "resource", r.resource, "name", r.name, "access", r.access.String(), "rule", rule)
}

// watched is an identity that may do everything.
type watched struct {
	skerry.Identity
	d *DryRun
}

// Allows implements [skerry.Identity].
func (w watched) Allows(r skerry.Resource, name string, a skerry.Access) bool {
	if !w.Identity.Allows(r, name, a) {
		w.d.tell(refusal{w.Accessor(), name, r, a}, w.Rule(r, name))
	}
	return true
}

// AllowsBelow implements [skerry.Identity].
func (w watched) AllowsBelow(r skerry.Resource, prefix string, a skerry.Access) bool {
	if !w.Identity.AllowsBelow(r, prefix, a) {
		w.d.tell(refusal{w.Accessor(), prefix + "*", r, a}, w.Rule(r, prefix))
	}
	return true
}
