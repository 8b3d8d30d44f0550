package registry

import (
	"time"

	"github.com/skerryhq/skerry/cluster"
)

// Peer is another server as this one sees it.
type Peer struct {
	ID cluster.ServerID
	Up bool // both hear each other
	// Heard is the time since its last sign of life came, or since the start if none came.
	Heard time.Duration
	Since time.Time    // since when it is up; zero if it is not
	Store cluster.Mark // of its member of the quorum store, by its last tick
}

// Together returns the last moment at which this server was up with a majority, zero if it was
// not since its start.
func (r *Registry) Together() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.Together()
}

// Peers returns the other servers that have a vote or were heard of in the last minute,
// ordered by name, and whether this one is in a minority.
func (r *Registry) Peers() (peers []Peer, minority bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.core.Known() {
		if id != r.cfg.Self {
			ago, ok := r.core.Heard(r.cfg.Now(), id)
			if !ok {
				ago = r.cfg.Now().Sub(r.current.born)
			}
			peers = append(peers, Peer{id, r.core.Up(id), ago, r.core.Since(id), r.core.Store(id)})
		}
	}
	return peers, r.core.Minority()
}
