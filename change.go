package skerry

import (
	"slices"
)

// ViewChange is the difference of two views of a service. Records that are the same in both
// are the same pointers, so a record that was announced anew with the same content counts as changed.
type ViewChange struct {
	Upserts  []*Entry // new, or changed
	Replaced []*Entry // the former entries of those that are changed
	Removed  []*Entry
}

// Empty reports whether nothing is different.
func (c *ViewChange) Empty() bool { return len(c.Upserts)+len(c.Removed) == 0 }

// Since returns the change from an earlier view of the same service; nil is one without entries.
func (v *View) Since(from *View) (c ViewChange) {
	var was []*Entry
	if from != nil {
		was = from.All()
	}
	now := v.All()
	for len(was) > 0 || len(now) > 0 {
		order := 0
		switch {
		case len(was) == 0:
			order = 1
		case len(now) == 0:
			order = -1
		default:
			order = was[0].Compare(now[0])
		}
		switch {
		case order < 0:
			c.Removed = append(c.Removed, was[0])
			was = was[1:]
		case order > 0:
			c.Upserts = append(c.Upserts, now[0])
			now = now[1:]
		default:
			if !was[0].same(now[0]) {
				c.Upserts, c.Replaced = append(c.Upserts, now[0]), append(c.Replaced, was[0])
			}
			was, now = was[1:], now[1:]
		}
	}
	if from != nil && v != from {
		v.summed(from, &c)
	}
	return c
}

// same reports whether two entries have the same records.
func (e *Entry) same(f *Entry) bool {
	return e.Node == f.Node && e.Instance == f.Instance && e.Owner == f.Owner && e.Guarded == f.Guarded && slices.Equal(e.Checks, f.Checks)
}

// Digest returns the digest of the view's entries. The order of the entries does not matter, and neither do
// outputs of checks and stamps, so it is the same at all servers. It is never 0.
func (v *View) Digest() uint64 {
	if sum := v.sum.Load(); sum != 0 {
		return sum
	}
	sum := uint64(1)
	for _, e := range v.All() {
		sum += e.digest()
	}
	v.sum.Store(sum)
	return max(sum, 1)
}

// summed works out the digest from that of the view before, if it is known.
func (v *View) summed(from *View, c *ViewChange) {
	sum := from.sum.Load()
	if sum == 0 || v.sum.Load() != 0 {
		return
	}
	for _, e := range c.Upserts {
		sum += e.digest()
	}
	for _, gone := range [...][]*Entry{c.Replaced, c.Removed} {
		for _, e := range gone {
			sum -= e.digest()
		}
	}
	v.sum.Store(sum)
}

// digest returns the digest of an entry's records together, so that a record of another entry cannot
// stand in for one of this.
func (e *Entry) digest() uint64 {
	const prime = 1099511628211 // of FNV-1a
	sum := e.Node.Digest()
	sum = sum*prime ^ e.Instance.Digest()
	for _, c := range e.Checks {
		sum = sum*prime ^ c.Digest()
	}
	sum = sum*prime ^ uint64(len(e.Owner))
	if e.Guarded {
		sum++
	}
	return sum * prime
}
