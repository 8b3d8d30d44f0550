package attach

import (
	"slices"

	"github.com/skerryhq/skerry"
)

// The bounds of the changes that are kept until a server has them. Beyond them the whole set is sent: it costs more than
// thousands of changes, so that a busy agent would fall behind further with each.
const (
	maxChanges = 8192
	maxRecords = 16384 // in the changes together
)

// change is a step from one version of the set to the next.
type change struct {
	base, version skerry.Version
	digest        uint64
	delta         skerry.Delta
}

// changes are the last steps, each on top of the one before.
type changes struct {
	steps   []change
	records int // in all steps
}

// add adds a step. One that does not follow is the first again.
func (cs *changes) add(c change) {
	if n := len(cs.steps); n > 0 && (cs.steps[n-1].version != c.base || n == maxChanges || cs.records > maxRecords) {
		*cs = changes{}
	}
	cs.steps = append(cs.steps, c)
	cs.records += c.records()
}

func (c *change) records() int {
	d := &c.delta
	return len(d.Instances) + len(d.Checks) + len(d.RemovedInstances) + len(d.RemovedChecks)
}

// since returns the step from a version to the last one. ok is false if it is not known.
func (cs *changes) since(v skerry.Version) (c change, ok bool) {
	i := slices.IndexFunc(cs.steps, func(c change) bool { return c.base == v })
	if i < 0 {
		return change{}, false
	}
	for _, known := range cs.steps[:i] {
		cs.records -= known.records()
	}
	cs.steps = slices.Delete(cs.steps, 0, i) // the server has those before
	last := cs.steps[len(cs.steps)-1]
	c = change{base: v, version: last.version, digest: last.digest, delta: cs.steps[0].delta}
	if len(cs.steps) > 1 {
		c.delta = joined(cs.steps)
	}
	return c, true
}

// joined returns the delta that does what all steps do, one after the other.
func joined(steps []change) (out skerry.Delta) {
	instances, checks := over[*skerry.Instance]{}, over[*skerry.Check]{}
	for _, s := range steps {
		if s.delta.Node != nil {
			out.Node = s.delta.Node
		}
		instances.add(s.delta.Instances, s.delta.RemovedInstances, func(i *skerry.Instance) string { return i.ID })
		checks.add(s.delta.Checks, s.delta.RemovedChecks, func(c *skerry.Check) string { return c.ID })
	}
	out.Instances, out.RemovedInstances = instances.result()
	out.Checks, out.RemovedChecks = checks.result()
	return out
}

// over has the last state of each record in the order of their first changes; the zero record is one that was removed.
type over[T comparable] struct {
	ids  []string
	last map[string]T
}

// add puts later records and removals over earlier ones.
func (o *over[T]) add(records []T, removed []string, id func(T) string) {
	var none T
	for _, key := range removed {
		o.set(key, none)
	}
	for _, r := range records {
		o.set(id(r), r)
	}
}

func (o *over[T]) set(id string, r T) {
	if o.last == nil {
		o.last = map[string]T{}
	}
	if _, known := o.last[id]; !known {
		o.ids = append(o.ids, id)
	}
	o.last[id] = r
}

func (o *over[T]) result() (records []T, removed []string) {
	var none T
	for _, id := range o.ids {
		if r := o.last[id]; r != none {
			records = append(records, r)
		} else {
			removed = append(removed, id)
		}
	}
	return records, removed
}
