// Package follow has the messages by which an agent follows the views of services at a server: a whole
// view first, and its changes after it. Package hub is the server's side, and package cache the agent's.
package follow

import (
	"encoding/json"
	"strconv"

	"github.com/skerryhq/skerry"
)

// Ask is a frame of a follower.
type Ask struct {
	Follow []Want   `json:"follow,omitempty"`
	Drop   []string `json:"drop,omitempty"` // services that are not followed any more
	Counts []Count  `json:"counts,omitempty"`
	Sync   []Sync   `json:"sync,omitempty"`
	Echoes []uint64 `json:"echoes,omitempty"` // of the server's frames; see Tell
	// Token is the agent's own, in the first frame where access is controlled. An agent sends one in any case.
	Token string `json:"token,omitempty"`
}

// Sync asks for the present view of a service, and is sent back after it.
type Sync struct {
	Service string `json:"service"`
	ID      uint64 `json:"id"` // of the follower's choice
}

// Count answers a Probe, again and again while it changes.
type Count struct {
	ID      string `json:"id"`
	Acked   int    `json:"acked,omitempty"`
	Pending int    `json:"pending,omitempty"`
	Gone    int    `json:"gone,omitempty"`
	// Resolving is for how long resolvers may keep an old answer, in milliseconds.
	Resolving int64 `json:"resolving,omitempty"`
}

// Probe asks a follower how many readers of a service may have a view of before the last one that it was sent.
type Probe struct {
	ID      string `json:"id"`
	Service string `json:"service"`
}

// Want asks for a service. Digest is that of the view that the follower has; empty: it has none. Position is the one that
// the follower has among the readers of the service; 0: it has none.
type Want struct {
	Service  string          `json:"service"`
	Digest   string          `json:"digest,omitempty"`
	Position skerry.Position `json:"position,omitempty"`
}

// Placed is the position of a follower among the readers of a service.
type Placed struct {
	Service  string          `json:"service"` // folded
	Position skerry.Position `json:"position"`
}

// Tell is a frame of a server.
type Tell struct {
	// State is in the first frame, which answers the follower's first one if it may follow, and after a change.
	State *State `json:"state,omitempty"`
	// Refused is why the server sends no views; the stream ends.
	Refused string `json:"refused,omitempty"`
	Views   []View `json:"views,omitempty"`
	// Positions are those of the follower among the readers of services that it asked for without one.
	Positions []Placed `json:"positions,omitempty"`
	Probe     *Probe   `json:"probe,omitempty"`
	Sync      *Sync    `json:"sync,omitempty"` // the views before it are at least as new as the follower's question
	// Echo is sent back once the views before it are in use; 0: none.
	Echo uint64 `json:"echo,omitempty"`
}

// State is how much the views of a server can be relied on.
type State struct {
	// Recovering: it started lately, and owners may be missing that live. A follower keeps the entries
	// that it has and a whole view lacks.
	Recovering bool `json:"recovering,omitempty"`
	// Stale is the age of the server's own catalog, in milliseconds.
	Stale int64 `json:"stale,omitempty"`
}

// View is a view of a service, or its change since the last one on the stream.
type View struct {
	Service string `json:"service"` // folded
	Digest  string `json:"digest"`  // of the view after it; a follower attaches no meaning to it
	// Same: the follower's view, with the digest that it named, is the present one.
	Same bool `json:"same,omitempty"`
	// Whole: Entries are all, not those that changed. Further: more of them follow in the next View
	// of the service, which belongs to this one.
	Whole   bool         `json:"whole,omitempty"`
	Further bool         `json:"further,omitempty"`
	Entries []Entry      `json:"entries,omitempty"`
	Removed []Key        `json:"removed,omitempty"`
	Cause   skerry.Cause `json:"cause,omitempty"`
}

// Entry is an instance with its node and all of its checks.
type Entry struct {
	Node     *skerry.Node     `json:"node"`
	Instance *skerry.Instance `json:"instance"`
	Checks   []*skerry.Check  `json:"checks,omitempty"`
	Owner    skerry.OwnerID   `json:"owner"`
	Guarded  bool             `json:"guarded,omitempty"`
	// Stored has the stamps of records in the quorum store, which are the same at all servers: Created and
	// Modified of the node, of the instance and of each check. Both are 0 for a record that is not there. It is
	// empty if none is.
	Stored []uint64 `json:"stored,omitempty"`
}

// Key names an entry.
type Key struct {
	Node string `json:"node"`
	ID   string `json:"id"`
}

// EntryOf returns an entry as it is sent. foreign reports whether an index is not of the catalog that has the
// entry: stamps with such indexes are those of the quorum store.
func EntryOf(e *skerry.Entry, foreign func(index uint64) bool) Entry {
	out := Entry{Node: e.Node, Instance: e.Instance, Checks: e.Checks, Owner: e.Owner, Guarded: e.Guarded}
	some := false
	stored := make([]uint64, 0, 4+2*len(e.Checks))
	add := func(s skerry.Stamp) {
		if s.Modified == 0 || !foreign(s.Modified) {
			s = skerry.Stamp{}
		}
		some = some || s.Modified != 0
		stored = append(stored, s.Created, s.Modified)
	}
	add(e.Node.Stamp)
	add(e.Instance.Stamp)
	for _, c := range e.Checks {
		add(c.Stamp)
	}
	if some {
		out.Stored = stored
	}
	return out
}

// Entry returns the entry as views have it. It is nil if a record is missing.
func (e *Entry) Entry() *skerry.Entry {
	if e.Node == nil || e.Instance == nil {
		return nil
	}
	out := &skerry.Entry{Node: e.Node, Instance: e.Instance, Checks: e.Checks, Owner: e.Owner, Guarded: e.Guarded, Health: skerry.Passing}
	for _, c := range e.Checks {
		if c == nil {
			return nil
		}
		out.Health = out.Health.Worse(c.Status)
	}
	if s := e.Stored; len(s) == 4+2*len(e.Checks) {
		e.Node.Stamp, e.Instance.Stamp = skerry.Stamp{Created: s[0], Modified: s[1]}, skerry.Stamp{Created: s[2], Modified: s[3]}
		for i, c := range e.Checks {
			c.Stamp = skerry.Stamp{Created: s[4+2*i], Modified: s[5+2*i]}
		}
	}
	return out
}

// KeyOf returns the name of an entry.
func KeyOf(e *skerry.Entry) Key { return Key{e.Node.Name, e.Instance.ID} }

// DigestOf returns the digest of a view as it is sent.
func DigestOf(v *skerry.View) string { return strconv.FormatUint(v.Digest(), 16) }

// Encode returns a frame.
func Encode(frame any) []byte {
	b, err := json.Marshal(frame)
	if err != nil {
		panic(err) // the messages hold nothing that JSON cannot say
	}
	return b
}
