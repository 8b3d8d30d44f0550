package attach

import (
	"slices"

	"github.com/skerryhq/skerry"
)

// maxChanges is how many changes are kept until a server has them. Beyond it the whole set is sent.
const maxChanges = 64

// change is a step from one version of the set to the next.
type change struct {
	base, version skerry.Version
	digest        uint64
	delta         skerry.Delta
}

// changes are the last steps, each on top of the one before.
type changes []change

// add adds a step. One that does not follow is the first again.
func (cs *changes) add(c change) {
	if n := len(*cs); n > 0 && ((*cs)[n-1].version != c.base || n == maxChanges) {
		*cs = nil
	}
	*cs = append(*cs, c)
}

// since returns the step from a version to the last one. ok is false if it is not known.
func (cs *changes) since(v skerry.Version) (c change, ok bool) {
	i := slices.IndexFunc(*cs, func(c change) bool { return c.base == v })
	if i < 0 {
		return change{}, false
	}
	*cs = slices.Delete(*cs, 0, i) // the server has those before
	last := (*cs)[len(*cs)-1]
	c = change{base: v, version: last.version, digest: last.digest, delta: (*cs)[0].delta}
	for _, next := range (*cs)[1:] {
		c.delta = joined(c.delta, next.delta)
	}
	return c, true
}

// joined returns the delta that does what two do, one after the other.
func joined(a, b skerry.Delta) skerry.Delta {
	out := skerry.Delta{Node: b.Node}
	if out.Node == nil {
		out.Node = a.Node
	}
	out.Instances, out.RemovedInstances = over(a.Instances, b.Instances, a.RemovedInstances, b.RemovedInstances, func(i *skerry.Instance) string { return i.ID })
	out.Checks, out.RemovedChecks = over(a.Checks, b.Checks, a.RemovedChecks, b.RemovedChecks, func(c *skerry.Check) string { return c.ID })
	return out
}

// over puts later records and removals over earlier ones.
func over[T any](first, then []T, removed, removedThen []string, id func(T) string) (records []T, gone []string) {
	set := map[string]bool{}
	for _, r := range then {
		set[id(r)] = true
	}
	for _, r := range first {
		if !set[id(r)] && !slices.Contains(removedThen, id(r)) {
			records = append(records, r)
		}
	}
	for _, r := range removed {
		if !set[r] && !slices.Contains(removedThen, r) {
			gone = append(gone, r)
		}
	}
	return append(records, then...), append(gone, removedThen...)
}
