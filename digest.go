package skerry

import (
	"encoding/json"
	"hash/fnv"
	"time"
)

// The digest of a set is the sum of its records' digests, so that the order of the records
// does not matter and a change costs only the records in it. An owner works it out and
// announces it; everybody else compares it and attaches no meaning to it.

// Digest returns the digest of the set. It is never 0.
func (s *Set) Digest() uint64 {
	sum := s.Node.Digest()
	for _, i := range s.Instances {
		sum += i.Digest()
	}
	for _, c := range s.Checks {
		sum += c.Digest()
	}
	return max(sum, 1)
}

// Digest returns the record's part of a set's digest. The stamp is not part of it.
func (n *Node) Digest() uint64 { return recordDigest('n', n) }

// Digest returns the record's part of a set's digest. The stamp is not part of it.
func (i *Instance) Digest() uint64 { return recordDigest('i', i) }

// Digest returns the record's part of a set's digest. Stamp, Output and Since are not part
// of it.
func (c *Check) Digest() uint64 {
	bare := *c
	bare.Output, bare.Since = "", time.Time{}
	return recordDigest('c', &bare)
}

// recordDigest returns the FNV-1a hash of a record in JSON.
func recordDigest(kind byte, record any) uint64 {
	h := fnv.New64a()
	h.Write([]byte{kind})
	_ = json.NewEncoder(h).Encode(record) // plain structs always encode
	return h.Sum64()
}
