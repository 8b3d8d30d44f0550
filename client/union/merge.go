package union

import (
	"errors"
	"fmt"

	"github.com/skerryhq/skerry/client"
)

// member is the state of one source.
type member struct {
	list *client.Snapshot // nil before it has one
	err  error            // why it is not live
}

// merger puts the lists of several sources together. It is pure.
type merger struct {
	members   []member
	impatient bool            // does not wait for those that say nothing
	named     map[string]bool // the IDs of the last list
}

// merge returns the list or the error to report, if any.
func (m *merger) merge() (u client.Update, err error, ok bool) {
	var errs []error
	answered, live := 0, 0
	for n := range m.members {
		one := &m.members[n]
		if one.err != nil {
			errs = append(errs, one.err)
		}
		if one.list != nil || one.err != nil {
			answered++
		}
		if one.list != nil && one.err == nil {
			live++
		}
	}
	all := len(m.members)
	switch {
	case answered < all && !m.impatient:
		return u, nil, false
	case live == 0 && len(errs) == 0: // no source has reported yet
		return u, nil, false
	case live == 0:
		return u, errors.Join(errs...), true
	}
	u.Unsettled = live < all
	u.Instances = m.instances()
	named := make(map[string]bool, len(u.Instances))
	for _, i := range u.Instances {
		named[i.ID] = true
	}
	// The rules already count instances as gone that a source's list has lost.
	for id := range m.named {
		if !named[id] {
			u.Left = append(u.Left, id)
		}
	}
	m.named = named
	return u, nil, true
}

// instances returns all instances, each once.
func (m *merger) instances() (out []client.Instance) {
	byAddress, ids := map[string]int{}, map[string]bool{}
	for n := range m.members {
		list := m.members[n].list
		if list == nil {
			continue
		}
		for _, i := range list.Instances {
			if at, twice := byAddress[i.Address]; twice {
				// One registry hears of a drain first.
				out[at].Draining = out[at].Draining || i.Draining
				continue
			}
			if ids[i.ID] {
				// Two registries may name different things alike.
				i.ID = fmt.Sprintf("%s~%d", i.ID, n+1)
			}
			byAddress[i.Address], ids[i.ID] = len(out), true
			out = append(out, i)
		}
	}
	return out
}
