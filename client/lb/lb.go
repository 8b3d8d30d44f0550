// Package lb chooses the instance for a call. It does no I/O and reads no clock: its
// caller passes the time, and the tests simulate it.
//
// The default policy takes the cheaper of two random instances (Mitzenmacher, "The Power
// of Two Choices", 2001). Cost is the peak of the recent latency (Finagle's peak EWMA)
// times the calls in flight, raised by failures and by the age of the oldest call that
// has no answer. A spike that no other call confirms is forgotten soon, so that a pause
// costs an instance little of its share. An instance that fails is taken out, probed, and
// let in again slowly. The statistics of an instance outlive every update of the list.
package lb

import (
	"cmp"
	"time"
)

// Node is an instance that calls can go to.
type Node struct {
	// Key names the instance over all updates of the list: its statistics are kept
	// under it.
	Key string
	// Weight is its capacity compared with the others'; 0 is the default, 1.
	Weight float64
	// Zone is where it is; "" where that is not known.
	Zone string
	// Started is when it was registered, on the clock of the calls; the zero value
	// is long ago. It takes less for a while then.
	Started time.Duration
	// Down means that it cannot take calls now, for want of a connection.
	Down bool
	// Value is the caller's own, such as a connection.
	Value any
}

// Result classes how a call ended.
type Result uint8

const (
	// OK is an answer, also one that refuses the call.
	OK Result = iota
	// Failed is a failure that is the instance's: no connection, no answer in time,
	// an internal error.
	Failed
	// Pushback is a refusal for want of capacity: the instance is not broken, but
	// others are better now.
	Pushback
	// Neutral results do not count: the caller gave up, or asked for something that does
	// not exist.
	Neutral
)

// Request describes a call before it is sent. The zero value is a call like any other.
type Request struct {
	// Exclude reports an instance that must not be taken if there is another, as
	// for the second attempt. It may be nil.
	Exclude func(*Node) bool
	// Retryable calls may be lost without harm: they try instances that had failed, where
	// nothing else probes them.
	Retryable bool
	// Hash is the key for the policy [Hash], such as [HashOf] a customer's number; 0:
	// none.
	Hash uint64
	// Stream calls last as long as their caller likes: one counts as load and by how it
	// ends, but its length does not count.
	Stream bool
}

// Picker chooses instances. It is safe for concurrent use.
//
// now is the time on any clock that only goes forward, the same in all calls.
type Picker interface {
	// Update replaces the list.
	Update(now time.Duration, nodes []Node)
	// Pick returns a call to the chosen instance, of which Done must be called once;
	// nil when there is none.
	Pick(now time.Duration, r Request) *Call
}

// Options of a [Balancer]. Zero values mean the defaults.
type Options struct {
	// Policy is how instances are chosen; default P2C.
	Policy Policy
	// Decay is the time in which a latency's weight falls to a third. Longer
	// smooths more, and lets a healed instance wait longer; default 6 s.
	Decay time.Duration
	// Choices is how many instances [P2C] compares; 2 to 8, default 2.
	Choices int
	// SlowStart is how long a new instance takes less than its share; default 10 s,
	// negative: never.
	SlowStart time.Duration
	// MaxEjected is the share of instances that may be out; when more have failed,
	// failures are no reason to stay away from any; default 0.5.
	MaxEjected float64
	// EjectMax is the longest time for which a failing instance is out before it is
	// probed; default 10 s.
	EjectMax time.Duration
	// Probed means that the transport probes the instances that are out, by Probes and
	// Probe: no call does.
	Probed bool
	// Zone is the caller's. Instances of its zone are preferred as far as they
	// bear it; "": all are alike.
	Zone string
	// Callers is the share of all callers in each zone; nil: as many in each.
	Callers map[string]float64
	// Subset bounds how many instances of a large service one caller uses.
	Subset Subset
	// Random returns random bits; default: those of math/rand/v2. One that is given
	// is called under a lock.
	Random func() uint64
	// Observe is called when instances go out and come in; it may be nil. It must not
	// call the picker.
	Observe func(Event)
}

// Event is a change of an instance's standing.
type Event struct {
	Node   Node
	Out    bool   // it was taken out; else it is let in again
	Reason string // why
}

func (o Options) withDefaults() Options {
	o.Decay = cmp.Or(max(o.Decay, 0), 6*time.Second)
	o.Choices = min(max(o.Choices, 2), maxChoices)
	o.SlowStart = cmp.Or(o.SlowStart, 10*time.Second)
	if o.MaxEjected <= 0 || o.MaxEjected > 1 {
		o.MaxEjected = .5
	}
	o.EjectMax = cmp.Or(max(o.EjectMax, 0), 10*time.Second)
	if o.Subset = o.Subset.withDefaults(); o.Policy == Hash {
		o.Subset.Above = -1
	}
	return o
}

const maxChoices = 8
