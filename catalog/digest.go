package catalog

import (
	"encoding/json"
	"hash/fnv"
	"time"

	"github.com/skerryhq/skerry"
)

// A digest is the sum of the records' FNV-1a hashes, so that the order of the
// records does not matter. Outputs of checks are not part of it.

// Digest implements [skerry.Announcer].
func (t *Table) Digest(id skerry.OwnerID) (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.owners[id]; o != nil {
		return o.currentDigest(), true
	}
	return 0, false
}

func (o *owner) currentDigest() uint64 {
	if o.digest != 0 && o.digestAt == o.version {
		return o.digest
	}
	instances, checks := o.records()
	o.digest = SetDigest(&skerry.Set{Node: o.node, Instances: instances, Checks: checks})
	o.digestAt = o.version
	return o.digest
}

// SetDigest returns the digest of a set. It is never 0.
func SetDigest(s *skerry.Set) uint64 {
	sum := hashOf('n', s.Node)
	for _, i := range s.Instances {
		sum += hashOf('i', i)
	}
	for _, c := range s.Checks {
		bare := *c
		bare.Output, bare.Since = "", time.Time{}
		sum += hashOf('c', &bare)
	}
	return max(sum, 1)
}

func hashOf(kind byte, record any) uint64 {
	h := fnv.New64a()
	h.Write([]byte{kind})
	// The records are plain structs: they always marshal.
	_ = json.NewEncoder(h).Encode(record)
	return h.Sum64()
}
