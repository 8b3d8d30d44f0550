package hub

import (
	"bytes"
	"strconv"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// perPart is the number of entries in one part of a change.
const perPart = 1000

// change returns the step from one view to a later one as it is sent, in parts; nil if a follower would see no difference.
// from is nil for the whole view. All followers that make the same step share it.
func change(from, to *skerry.View, foreign func(uint64) bool) [][]byte {
	key := "follow/whole"
	if from != nil {
		key = "follow/" + strconv.FormatUint(from.Serial(), 36)
	}
	lines := to.Memo(key, func() []byte { return bytes.Join(encode(from, to, foreign), newline) }) // JSON has no line breaks
	if len(lines) == 0 {
		return nil
	}
	return bytes.Split(lines, newline)
}

var newline = []byte("\n")

func encode(from, to *skerry.View, foreign func(uint64) bool) (out [][]byte) {
	c := to.Since(from)
	if from != nil && c.Empty() && from.Cause == to.Cause {
		return nil
	}
	v := follow.View{Service: to.Service, Digest: follow.DigestOf(to), Whole: from == nil, Cause: to.Cause}
	for _, e := range c.Removed {
		v.Removed = append(v.Removed, follow.KeyOf(e))
	}
	for n, e := range c.Upserts {
		v.Entries = append(v.Entries, follow.EntryOf(e, foreign))
		if len(v.Entries) == perPart && n < len(c.Upserts)-1 {
			v.Further = true
			out = append(out, follow.Encode(v))
			v.Entries, v.Removed, v.Further = nil, nil, false
		}
	}
	return append(out, follow.Encode(v))
}
