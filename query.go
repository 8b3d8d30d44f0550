package skerry

import (
	"strings"
	"time"
)

// Stage is one step of the read path. It keeps or drops an entry.
type Stage struct {
	Name string // "health", "maintenance", "tag", "node-meta", "filter", …
	Keep func(*Entry) bool
	// Why returns the reason why Keep drops the entry, for people. Only
	// [Pipeline.Explain] calls it.
	Why func(*Entry) string
	// Health is whether the stage depends on the entry's health.
	Health bool
}

// Pipeline is the read path of one query: the stages in their order.
type Pipeline []Stage

// Dropped is an entry that a query leaves out, with the first stage that dropped it.
type Dropped struct {
	Entry  *Entry
	Stage  string
	Reason string
}

// Select returns the entries that every stage keeps. Without stages it returns
// entries itself.
func (p Pipeline) Select(entries []*Entry) []*Entry {
	if len(p) == 0 {
		return entries
	}
	out := make([]*Entry, 0, len(entries))
	for _, e := range entries {
		if p.drops(e) == nil {
			out = append(out, e)
		}
	}
	return out
}

// Explain splits entries into those that Select returns and those that it drops.
func (p Pipeline) Explain(entries []*Entry) (kept []*Entry, dropped []Dropped) {
	for _, e := range entries {
		if s := p.drops(e); s != nil {
			dropped = append(dropped, Dropped{Entry: e, Stage: s.Name, Reason: s.Why(e)})
		} else {
			kept = append(kept, e)
		}
	}
	return kept, dropped
}

// selection returns the stages that do not depend on health.
func (p Pipeline) selection() Pipeline {
	var out Pipeline
	for _, s := range p {
		if !s.Health {
			out = append(out, s)
		}
	}
	return out
}

func (p Pipeline) drops(e *Entry) *Stage {
	for i := range p {
		if !p[i].Keep(e) {
			return &p[i]
		}
	}
	return nil
}

// NotInMaintenance drops instances in maintenance mode. A health stage drops them
// too, since maintenance is a critical check. This stage goes before it, so that
// Explain names the true reason.
func NotInMaintenance() Stage {
	return Stage{
		Name: "maintenance", Health: true,
		Keep: func(e *Entry) bool { return !e.Maintenance() },
		Why: func(e *Entry) string {
			for _, c := range e.Checks {
				if c.Maintenance() {
					return "check " + c.ID + ": " + c.Notes
				}
			}
			return ""
		},
	}
}

// Passes drops instances with any check that does not pass.
func Passes() Stage {
	return healthStage(func(h Health) bool { return h == Passing })
}

// NotCritical drops instances with a critical check.
func NotCritical() Stage {
	return healthStage(func(h Health) bool { return h != Critical })
}

func healthStage(keep func(Health) bool) Stage {
	return Stage{
		Name: "health", Health: true,
		Keep: func(e *Entry) bool { return keep(e.Health) },
		Why: func(e *Entry) string {
			for _, c := range e.Checks {
				if !keep(c.Status) {
					return "check " + c.ID + " is " + string(c.Status) + c.since() + ": " + c.Output
				}
			}
			return ""
		},
	}
}

func (c *Check) since() string {
	if c.Since.IsZero() {
		return ""
	}
	return " since " + c.Since.UTC().Format(time.RFC3339)
}

// HasTags drops instances that lack any of tags. Case does not matter, as in
// Consul; an empty tag is no instance's tag.
func HasTags(tags []string) Stage {
	return Stage{
		Name: "tag",
		Keep: func(e *Entry) bool { return missingTag(e.Instance.Tags, tags) == nil },
		Why: func(e *Entry) string {
			return "tag \"" + *missingTag(e.Instance.Tags, tags) + "\" is not among [" + strings.Join(e.Instance.Tags, " ") + "]"
		},
	}
}

func missingTag(have, want []string) *string {
next:
	for i, w := range want {
		for _, h := range have {
			if strings.EqualFold(h, w) {
				continue next
			}
		}
		return &want[i]
	}
	return nil
}

// HasNodeMeta drops instances on nodes that lack any of the pairs.
func HasNodeMeta(want map[string]string) Stage {
	return Stage{
		Name: "node-meta",
		Keep: func(e *Entry) bool { return e.Node.HasMeta(want) },
		Why:  func(e *Entry) string { return "node " + e.Node.Name + " lacks the asked-for metadata" },
	}
}

// HasMeta reports whether the node has every pair of want.
func (n *Node) HasMeta(want map[string]string) bool {
	for k, v := range want {
		if got, ok := n.Meta[k]; !ok || got != v {
			return false
		}
	}
	return true
}
