package skerry

import "time"

// Datacenter is another datacenter as a server knows it.
type Datacenter struct {
	Name    string
	Reached bool // one of its servers answers now
	// Distance is the median of the round trips to its servers, as they were measured last; 0: none was.
	Distance time.Duration
	// Heard is when one of its servers answered last; zero: none did since the start of this process.
	Heard   time.Time
	Servers []Member // ordered by name
}

// Datacenters knows the other datacenters. Its methods may be called from many goroutines.
type Datacenters interface {
	// Datacenters returns the other datacenters, the nearest first. Those that were never reached come last.
	Datacenters() []Datacenter
	// In returns the services of another datacenter; nil if it is not known.
	In(name string) Elsewhere
}

// ValidDatacenter reports whether a text is the name of a datacenter: 1 to 255 lower-case letters, digits, - and _.
func ValidDatacenter(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return name != "" && len(name) <= 255
}

// Elsewhere is the services of another datacenter, as a server follows them there. While no server there can be reached,
// their last views stay.
type Elsewhere interface {
	Discovery
	// Catalog has the services that are followed, and nothing else.
	Catalog() Catalog
	// Stale returns the time since the views were last known to be current; 0 while they are.
	Stale() time.Duration
}
