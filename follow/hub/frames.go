package hub

import (
	"sync"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// frames are the latest changes of a topic as they are sent: followers that read at the same time share them.
type frames struct {
	mu   sync.Mutex
	kept [4]change
	next int
}

// change is the step from one view to a later one; from is nil for the whole view.
type change struct {
	from, to *skerry.View
	parts    [][]byte
}

// perPart is the number of entries in one part of a whole view.
const perPart = 1000

// of returns the change from one view to another as it is sent; nil if a follower would see no difference.
func (f *frames) of(from, to *skerry.View) [][]byte {
	f.mu.Lock() // others wait for the same change, and need not work it out too
	defer f.mu.Unlock()
	for _, c := range f.kept {
		if c.to == to && c.from == from {
			return c.parts
		}
	}
	c := change{from, to, encode(from, to)}
	f.kept[f.next%len(f.kept)] = c
	f.next++
	return c.parts
}

func encode(from, to *skerry.View) (parts [][]byte) {
	c := to.Since(from)
	if from != nil && c.Empty() && from.Cause == to.Cause {
		return nil
	}
	v := follow.View{Service: to.Service, Digest: follow.DigestOf(to), Whole: from == nil, Cause: to.Cause}
	for _, e := range c.Removed {
		v.Removed = append(v.Removed, follow.KeyOf(e))
	}
	for n, e := range c.Upserts {
		v.Entries = append(v.Entries, follow.EntryOf(e))
		if len(v.Entries) == perPart && n < len(c.Upserts)-1 {
			v.Further = true
			parts = append(parts, follow.Encode(v))
			v.Entries, v.Removed, v.Further = nil, nil, false
		}
	}
	return append(parts, follow.Encode(v))
}
