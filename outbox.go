package skerry

import "time"

// Outbox is where an owner's changes go. It never blocks and never refuses: the owner goes
// on, and the outbox makes sure that the change arrives.
type Outbox interface {
	// Changed notes that delta d turns the set of version base into version v with this
	// digest (see [Set.Digest]). It is called in the order of the versions, and takes over
	// the records as [Announcement] does.
	Changed(v, base Version, d Delta, digest uint64)
}

// Source is an owner as its outbox sees it.
type Source interface {
	// Whole returns the present set with its version and digest. An outbox calls it when a
	// delta cannot be applied, and never from within Changed: the owner may take its locks.
	Whole() (v Version, digest uint64, s *Set)
}

// Carrier opens outboxes.
type Carrier interface {
	// Carry announces the whole set of an owner and returns the outbox for its changes. ttl
	// is the longest silence of a lease; 0 for other kinds.
	Carry(id OwnerID, kind OwnerKind, ttl time.Duration, from Source) Outbox
}
