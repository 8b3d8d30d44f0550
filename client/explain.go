package client

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/skerryhq/skerry/client/lb"
)

// Explanation is what a client knows, and why calls go where they go.
type Explanation struct {
	Services      []ServiceState      `json:"services"`
	Registrations []RegistrationState `json:"registrations"`
}

// ServiceState is a service that is followed.
type ServiceState struct {
	Service string `json:"service"`
	// Known is false while there is no list; most fields below are empty then.
	Known     bool      `json:"known"`
	Freshness Freshness `json:"freshness"`
	// Since is when the list was last confirmed by the source.
	Since time.Time `json:"since,omitzero"`
	// Error is the reason why the list is not live.
	Error string `json:"error,omitempty"`
	// Held are how many of Instances the source no longer names.
	Held      int        `json:"held"`
	Instances []Instance `json:"instances"`
	// Balancers are those that choose among the instances, one for each connection
	// or transport.
	Balancers []BalancerState `json:"balancers"`
}

// BalancerState is how one balancer judges a service's instances. Their keys are the
// instances' IDs.
type BalancerState struct {
	// Name names its owner, with a number, such as "grpc-1".
	Name      string     `json:"name"`
	Instances []lb.State `json:"instances"`
}

// RegistrationState is an instance that is kept registered.
type RegistrationState struct {
	Instance   Instance `json:"instance"`
	Registered bool     `json:"registered"`
	Draining   bool     `json:"draining,omitempty"`
	// Error is the reason why it is not registered.
	Error string `json:"error,omitempty"`
}

// attached is a balancer of a service.
type attached struct {
	name   string
	number int
	states func() []lb.State
}

// Attach adds a balancer of a service to [Client.Explain], until detach is called. The
// transports call it.
func (c *Client) Attach(service, name string, states func() []lb.State) (detach func()) {
	a := &attached{name: name, number: 1, states: states}
	c.mu.Lock()
	defer c.mu.Unlock()
	for slices.ContainsFunc(c.balancers[service], func(other *attached) bool { return other.name == name && other.number == a.number }) {
		a.number++
	}
	c.balancers[service] = append(c.balancers[service], a)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(c.balancers[service]), func(other *attached) bool { return other == a })
		if c.balancers[service] = left; len(left) == 0 {
			delete(c.balancers, service)
		}
	}
}

// Explain returns the state of the services that are followed and of the client's
// registrations, and how its balancers judge each instance.
func (c *Client) Explain() Explanation {
	var e Explanation
	c.mu.Lock()
	balancers := map[string][]*attached{}
	for name, s := range c.services {
		state := ServiceState{Service: name}
		if s.now != nil {
			state.Known, state.Freshness, state.Since = true, s.now.Freshness, s.since
			state.Held, state.Instances = s.now.Held, s.now.Instances
			if s.now.Err != nil {
				state.Error = s.now.Err.Error()
			}
		}
		e.Services = append(e.Services, state)
		balancers[name] = c.balancers[name]
	}
	for r := range c.registrations {
		e.Registrations = append(e.Registrations, r.state())
	}
	c.mu.Unlock()
	for i := range e.Services {
		s := &e.Services[i]
		for _, a := range balancers[s.Service] {
			s.Balancers = append(s.Balancers, BalancerState{fmt.Sprintf("%s-%d", a.name, a.number), a.states()})
		}
	}
	slices.SortFunc(e.Services, func(a, b ServiceState) int { return cmp.Compare(a.Service, b.Service) })
	slices.SortFunc(e.Registrations, func(a, b RegistrationState) int {
		return cmp.Or(cmp.Compare(a.Instance.Service, b.Instance.Service), cmp.Compare(a.Instance.ID, b.Instance.ID))
	})
	return e
}

// MarshalText implements [encoding.TextMarshaler].
func (f Freshness) MarshalText() ([]byte, error) { return []byte(f.String()), nil }
