package registry

import (
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
)

// Owner takes a frame of an owner in another process, which holds a stream to this server, and
// returns the frame that answers it; nil if there is nothing to answer. It is an error if the owner
// is not the given one: a process speaks for its own agent alone.
func (r *Registry) Owner(id skerry.OwnerID, data []byte) ([]byte, error) {
	m, err := decode(data)
	if err != nil {
		return nil, err
	}
	var of skerry.OwnerID
	switch m := m.(type) {
	case cluster.Attach:
		of = m.Owner
	case cluster.Announce:
		of = m.Owner
	case cluster.Beat:
		of = m.Owner
	default: // of a later release
		return nil, nil
	}
	if of != id {
		return nil, skerry.Errorf(skerry.Denied, "a process that speaks for %s spoke for %s", id, of)
	}
	answer, err := r.hear(m)
	if err != nil {
		return nil, err
	}
	return frame.Encode(answer)
}

// hear takes an owner's message.
func (r *Registry) hear(m cluster.Message) (answer cluster.Message, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	switch m := m.(type) {
	case cluster.Attach:
		if m.TTL <= 0 {
			return nil, skerry.Errorf(skerry.Invalid, "%s: the TTL is %v", m.Owner, m.TTL)
		}
		answer = r.core.Attach(now, m)
	case cluster.Announce:
		m.Stand, m.Ended = cluster.Stand{}, 0
		answer = r.core.Announce(now, m)
	case cluster.Beat:
		answer = r.core.Beat(now, m)
	default:
		return nil, fmt.Errorf("a %T is no message of an owner", m)
	}
	r.flush()
	return answer, nil
}
