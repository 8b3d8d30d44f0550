package node

import (
	"fmt"
	"strings"
	"time"

	"github.com/skerryhq/skerry/propagation"
)

// passing is how fast changes that are made at this process reach others.
type passing struct {
	meter     *propagation.Meter  // at a server; nil on others
	announced *propagation.Figure // at an agent with servers: until its server has a change; nil on others
}

// startCanary makes changes that are timed.
func startCanary(n *Node) (part, error) {
	if n.cfg.CanaryInterval <= 0 {
		return part{}, nil
	}
	return part{run: loops(every(n.cfg.CanaryInterval, func() { n.registry.Canary(n.hub.Followers()) }))}, nil
}

// askFollowers asks agents that follow a service here whether they have its view.
func (n *Node) askFollowers(service string, report func(took map[string]time.Duration, late []string)) {
	if n.hub != nil {
		n.hub.Echo(service, report)
	}
}

// timeAnnounced returns the function that takes the times of this agent's changes to its server.
func (n *Node) timeAnnounced() func(time.Duration) {
	h := propagation.Histogram("skerry_propagation_announce_seconds", "Time until a server had a change that was made at this agent.")
	n.metrics.MustRegister(h)
	f := propagation.NewFigure(h.WithLabelValues())
	n.passing.announced = f
	return func(took time.Duration) { f.Observe(time.Now(), took) }
}

// announcedReport is how fast changes of an agent reach its server.
type announcedReport struct {
	propagation.Quantiles
	Waiting float64 // for how long a change has waited for a server, in milliseconds; 0: servers have all
}

// propagation describes how fast changes that are made here reach others.
func (n *Node) propagation() any {
	switch {
	case n.passing.meter != nil:
		return n.passing.meter.Report(time.Now())
	case n.passing.announced != nil:
		return struct{ Announced announcedReport }{n.announcements()}
	}
	return struct{}{}
}

func (n *Node) announcements() announcedReport {
	return announcedReport{n.passing.announced.Quantiles(time.Now()), float64(n.attached.attachment.Untold().Milliseconds())}
}

// propagationLine describes it in a line.
func (n *Node) propagationLine() string {
	p := &n.passing
	var words []string
	add := func(to string, q propagation.Quantiles) {
		if q.Changes > 0 {
			words = append(words, fmt.Sprintf("%s %.1f ms", to, q.P99))
		}
	}
	switch {
	case p.meter != nil:
		r := p.meter.Report(time.Now())
		for _, s := range r.Servers {
			if add(s.Server, s.Quantiles); s.Waiting > float64(lateAfter.Milliseconds()) {
				words = append(words, fmt.Sprintf("%s has acknowledged nothing for %.0f s", s.Server, s.Waiting/1000))
			}
		}
		add("agents", r.Agents.Quantiles)
		if len(r.Agents.Late) > 0 {
			words = append(words, "late agents: "+strings.Join(r.Agents.Late, " "))
		}
	case p.announced != nil:
		add("to a server", n.announcements().Quantiles)
	}
	if len(words) == 0 {
		return "not measured"
	}
	return strings.Join(words, ", ")
}

// lateAfter is from when on a server that does not acknowledge a change is named.
const lateAfter = 2 * time.Second
