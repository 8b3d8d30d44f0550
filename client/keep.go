package client

import (
	"cmp"
	"slices"
	"time"
)

// keeper holds the last good list of one service. It is pure: the time is passed in.
//
// New and changed instances are taken at once. One that is missing goes when that is
// proven: its owner withdrew it, or the source is settled, its history goes on, and
// no more than the usual share went within one hold. Otherwise it is held: until a
// live and settled source has gone on not naming it for the hold's length, or, when
// the source has lost its data, until most of the list is back; at the latest after
// the greatest age.
type keeper struct {
	hold, maxAge time.Duration
	shrink       float64

	kept      []kept // by ID
	freshness Freshness
	err       error
	since     time.Time // of the last update
	known     bool      // there is a list, be it empty
	revision  uint64
	epoch     string
	unsettled bool
	position  float64 // the first that the source handed out
	// After a loss of data, before is how many instances there were; else 0.
	before int
	gone   []time.Time // when instances went without proof, within the last hold
}

// kept is an instance of the list.
type kept struct {
	Instance
	heldSince time.Time // zero while the source names it
	seen      time.Time // when it did last
}

// take takes a source's update in.
func (k *keeper) take(now time.Time, u *Update) {
	resumed := k.freshness != Live // the hold begins anew
	if k.known && (u.Epoch != k.epoch || u.Revision != 0 && u.Revision < k.revision) {
		k.before = max(k.before, len(k.kept)) // the source has lost its data
	}
	k.epoch, k.revision, k.unsettled = u.Epoch, u.Revision, u.Unsettled
	k.freshness, k.err, k.since = Live, nil, now
	if k.position == 0 {
		k.position = u.Position
	}

	next := make([]kept, 0, max(len(u.Instances), len(k.kept)))
	named := make(map[string]bool, len(u.Instances))
	addresses := make(map[string]bool, len(u.Instances))
	for _, i := range u.Instances {
		if !named[i.ID] {
			named[i.ID], addresses[i.Address] = true, true
			next = append(next, kept{Instance: i, seen: now})
		}
	}
	confirmed := len(next)
	if k.before > 0 && float64(confirmed) >= float64(k.before)*(1-k.shrink) {
		k.before, resumed = 0, true // most are back
	}
	var missing []kept
	for _, i := range k.kept {
		// One that came back under another ID is the same.
		if !named[i.ID] && !addresses[i.Address] && !u.Proven && !slices.Contains(u.Left, i.ID) {
			missing = append(missing, i)
		}
	}
	if k.believes(now, confirmed, missing) {
		for _, i := range missing {
			if i.heldSince.IsZero() {
				k.gone = append(k.gone, now)
			}
		}
	} else {
		for _, i := range missing {
			if i.heldSince.IsZero() || resumed {
				i.heldSince = now
			}
			next = append(next, i)
		}
	}
	k.known = true
	k.set(next)
	if u.Stale != nil {
		k.fail(u.Stale)
	}
	k.tick(now)
}

// believes reports whether missing instances may go at once.
func (k *keeper) believes(now time.Time, confirmed int, missing []kept) bool {
	k.gone = slices.DeleteFunc(k.gone, func(at time.Time) bool { return now.Sub(at) >= k.hold })
	news := 0
	for _, i := range missing {
		if i.heldSince.IsZero() {
			news++
		}
	}
	went := float64(len(k.gone) + news)
	return !k.unsettled && k.before == 0 && confirmed > 0 && news == len(missing) &&
		went <= k.shrink*float64(confirmed+len(missing)+len(k.gone))
}

// fail notes that the source does not answer.
func (k *keeper) fail(err error) {
	k.err = err
	if k.freshness == Live {
		k.freshness = Frozen
	}
}

// tick lets go instances that have been held for long enough, and reports whether there
// were any.
func (k *keeper) tick(now time.Time) bool {
	before := len(k.kept)
	k.set(slices.DeleteFunc(k.kept, func(i kept) bool {
		if i.heldSince.IsZero() {
			return k.freshness == Cold && now.Sub(i.seen) >= k.maxAge
		}
		waited := k.freshness == Live && !k.unsettled && k.before == 0 && now.Sub(i.heldSince) >= k.hold
		return waited || now.Sub(i.seen) >= k.maxAge
	}))
	return len(k.kept) < before
}

// next is when tick may have something to do; zero: not before another update.
func (k *keeper) next() (at time.Time) {
	for _, i := range k.kept {
		var due time.Time
		switch {
		case k.freshness == Live && !i.heldSince.IsZero() && !k.unsettled && k.before == 0:
			due = i.heldSince.Add(k.hold)
		case !i.heldSince.IsZero() || k.freshness == Cold:
			due = i.seen.Add(k.maxAge)
		default:
			continue
		}
		if at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

func (k *keeper) set(list []kept) {
	slices.SortFunc(list, func(a, b kept) int { return cmp.Compare(a.ID, b.ID) })
	k.kept = list
}

// snapshot returns the list as it is.
func (k *keeper) snapshot(service string) *Snapshot {
	s := &Snapshot{Service: service, Instances: make([]Instance, len(k.kept)), Freshness: k.freshness, Since: k.since, Err: k.err, Position: k.position}
	for n, i := range k.kept {
		s.Instances[n] = i.Instance
		if !i.heldSince.IsZero() {
			s.Held++
		}
	}
	return s
}
