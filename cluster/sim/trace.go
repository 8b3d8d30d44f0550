package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// tracef prints one event with its time.
func (w *world) tracef(format string, args ...any) {
	if w.cfg.Trace != nil {
		w.cfg.Trace("%8v "+format, append([]any{w.now.Sub(w.began)}, args...)...)
	}
}

// traceStep prints a message that a server takes, if it names the owner that is followed.
func (w *world) traceStep(s *server, f flight) {
	if w.cfg.Trace == nil || w.cfg.Follow == "" {
		return
	}
	if text := naming(f.m, w.cfg.Follow); text != "" {
		w.tracef("    %s > %s %T %s(sent %v)", f.from, s.id, f.m, text, f.sent.Sub(w.began))
	}
}

// traceOwner prints what each server knows of the owner that is followed, and which servers it is
// up with, when that has changed.
func (w *world) traceOwner() {
	if w.cfg.Trace == nil || w.cfg.Follow == "" {
		return
	}
	text := w.states(w.owner(string(w.cfg.Follow)))
	for _, s := range w.servers {
		text += fmt.Sprintf("\n\t\t%s runs %v whole %v minority %v up with", s.id, s.up && !s.paused, s.core.Whole(), s.core.Minority())
		for _, other := range w.servers {
			if s.core.Up(other.id) {
				text += " " + string(other.id)
			}
		}
	}
	if text != w.traced {
		w.traced = text
		w.tracef("   %s", text)
	}
}

// naming is the part of a message that names an owner; "" if none does.
func naming(m cluster.Message, id skerry.OwnerID) string {
	switch m := m.(type) {
	case cluster.Log:
		return recordsOf(m.Records, id)
	case cluster.Owned:
		return recordsOf(m.Records, id)
	case cluster.Fetched:
		return recordsOf(m.Records, id)
	case cluster.Announce:
		return recordsOf([]cluster.Record{m.Record}, id)
	case leasePut:
		return recordsOf([]cluster.Record{m.Record}, id)
	case cluster.Heard:
		return among(m.Owners, id)
	case cluster.HeardOK:
		return among(m.Owners, id)
	case cluster.Fetch:
		return among(m.Owners, id)
	case cluster.Attach:
		return among([]skerry.OwnerID{m.Owner}, id)
	case cluster.Beat:
		return among([]skerry.OwnerID{m.Owner}, id)
	case leaseBeat:
		return among([]skerry.OwnerID{m.Owner}, id)
	}
	return ""
}

func among(ids []skerry.OwnerID, id skerry.OwnerID) string {
	if slices.Contains(ids, id) {
		return string(id) + " "
	}
	return ""
}

// recordsOf prints the records of an owner.
func recordsOf(records []cluster.Record, id skerry.OwnerID) string {
	var b strings.Builder
	for _, r := range records {
		if r.Owner == id {
			fmt.Fprintf(&b, "%v gone %v set %v delta %v ended %d %+v ", r.Version, r.Gone, r.Set != nil, r.Delta != nil, r.Ended, r.Stand)
		}
	}
	return b.String()
}
