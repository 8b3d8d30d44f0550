package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/skerryhq/skerry/client"
)

// view is the instances of a service, by all events of its streams so far.
type view struct {
	tags    []string // that are wanted
	passing bool     // only the healthy are wanted
	tagged  string   // the tagged address that is wanted

	kept  map[key]client.Instance
	left  []string // the IDs of those that drained and are gone, since the last update
	cause string   // why there is no instance
	known bool
	stale error // why it may be old

	position float64 // of this caller; 0: not known

	changed bool // by the event that is being taken in
}

// key names an instance among those of a service.
type key struct{ Node, ID string }

// change is the data of the events "view" and "same".
type change struct {
	Whole             bool
	Entries, Draining []entry
	Removed           []key
	Cause             string
	Position          float64
}

// view returns the view of a service of this source, which is not known yet.
func (s *Source) view() *view {
	return &view{tags: s.query["tag"], passing: s.query.Has("passing"), tagged: s.tagged, kept: map[key]client.Instance{}}
}

// take takes the data of an event "view" or "same" in, and reports whether the list or the evidence
// for it is another then.
func (v *view) take(data []byte, same bool) (changed bool, err error) {
	var c change
	if err := json.Unmarshal(data, &c); err != nil {
		return false, fmt.Errorf("client/consul: an event cannot be read: %w", err)
	}
	if !v.known && !c.Whole {
		return false, errors.New("client/consul: the stream begins without a whole view")
	}
	v.changed = !v.known || v.cause != c.Cause
	v.known, v.cause = true, c.Cause
	if c.Position > 0 && c.Position < 1 {
		v.position = c.Position
	}
	if same {
		return v.changed, nil
	}
	named := v.put(c.Entries, false)
	maps.Copy(named, v.put(c.Draining, true))
	for _, k := range c.Removed {
		v.remove(k)
	}
	if c.Whole {
		for k := range v.kept {
			if !named[k] {
				v.remove(k)
			}
		}
	}
	return v.changed, nil
}

// put takes instances in that are new or changed, and returns their names.
func (v *view) put(entries []entry, draining bool) map[key]bool {
	named := make(map[key]bool, len(entries))
	for n := range entries {
		e := &entries[n]
		k := key{e.Node.Node, e.Service.ID}
		named[k] = true
		if !v.wants(e) {
			v.remove(k)
			continue
		}
		i := e.instance(v.tagged)
		i.Draining = draining
		if was, ok := v.kept[k]; !ok || !was.Equal(&i) {
			v.kept[k], v.changed = i, true
		}
	}
	return named
}

// remove takes an instance out. One that was draining has withdrawn as it said.
func (v *view) remove(k key) {
	i, ok := v.kept[k]
	if !ok {
		return
	}
	if i.Draining {
		v.left = append(v.left, i.ID)
	}
	delete(v.kept, k)
	v.changed = true
}

// wants reports whether an instance is one that was asked for, as the parameters of
// health/service say.
func (v *view) wants(e *entry) bool {
	if v.passing && slices.ContainsFunc(e.Checks, func(c check) bool { return c.Status != "passing" }) {
		return false
	}
	for _, tag := range v.tags {
		if !slices.ContainsFunc(e.Service.Tags, func(have string) bool { return strings.EqualFold(have, tag) }) {
			return false
		}
	}
	return true
}

// update returns the list.
func (v *view) update() client.Update {
	u := client.Update{Instances: slices.Collect(maps.Values(v.kept)), Left: v.left, Stale: v.stale, Position: v.position}
	v.left = nil
	evidence(&u, v.cause)
	return u
}
