package client

import (
	"maps"
	"slices"
	"time"
)

// Instance is one running copy of a service, as its callers find it. Instances from a
// Source or a Client must not be changed.
type Instance struct {
	// ID names the instance within its service, over its whole life.
	ID string `json:"id"`
	// Service is the name that it is found by.
	Service string `json:"service"`
	// Address is where it listens: host:port.
	Address string `json:"address"`
	// Zone is where it runs; "" where that is not known.
	Zone string `json:"zone,omitempty"`
	// Weight is its capacity compared with the others'; 0 means 1.
	Weight int               `json:"weight,omitempty"`
	Tags   []string          `json:"tags,omitempty"`
	Meta   map[string]string `json:"meta,omitempty"`
	// Started is when it was registered; zero where the source does not say.
	Started time.Time `json:"started,omitzero"`
	// Draining instances take no new calls unless there are no others.
	Draining bool `json:"draining,omitempty"`
}

// Equal reports whether two instances are the same in everything.
func (i *Instance) Equal(other *Instance) bool {
	return i.ID == other.ID && i.Service == other.Service && i.Address == other.Address && i.Zone == other.Zone &&
		i.Weight == other.Weight && i.Started.Equal(other.Started) && i.Draining == other.Draining &&
		slices.Equal(i.Tags, other.Tags) && maps.Equal(i.Meta, other.Meta)
}

// Snapshot is the list of a service at one moment.
type Snapshot struct {
	Service string
	// Instances are sorted by ID.
	Instances []Instance
	Freshness Freshness
	// Held is how many of Instances the source no longer names, without proof that
	// they are gone.
	Held int
	// Since is when the list was last confirmed by the source.
	Since time.Time
	// Err is the reason why the list is not live; nil when it is.
	Err error
	// Position is the place of this program among all callers of the service, if the registry hands places out
	// (Skerry does): above 0 and below 1, else 0. It stays the same while the client is open.
	Position float64
}

// Freshness is the origin of a list.
type Freshness uint8

const (
	// Live lists are what the source says now.
	Live Freshness = iota
	// Frozen lists are what it said last: it does not answer now.
	Frozen
	// Cold lists are from the disk: the source has not answered since the start.
	Cold
)

var freshnessNames = [...]string{"live", "frozen", "cold"}

// String implements [fmt.Stringer].
func (f Freshness) String() string { return freshnessNames[f] }
