package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry/client"
)

// object is an EndpointSlice, or an object of the older kind Endpoints.
type object struct {
	Metadata struct {
		Name, ResourceVersion string
		Annotations           map[string]string
	}
	// Of an EndpointSlice.
	AddressType string
	Ports       []portOf
	Endpoints   []endpoint
	// Of Endpoints.
	Subsets []struct {
		Addresses, NotReadyAddresses []addressOf
		Ports                        []portOf
	}
}

type addressOf struct {
	IP, Hostname, NodeName string
	TargetRef              *reference
}

type portOf struct {
	Name, Protocol string
	Port           int
}

type reference struct{ Kind, Name string }

type endpoint struct {
	Addresses  []string
	Conditions struct{ Ready, Serving, Terminating *bool }
	Hostname   string
	NodeName   string
	Zone       string
	Hints      struct{ ForZones []struct{ Name string } }
	TargetRef  *reference
}

// slice is a set of endpoints with the same ports and of one kind of address.
type slice struct {
	name      string
	version   uint64 // 0 where it is no number
	ipv6      bool
	ports     []portOf
	endpoints []endpoint
}

// truncated marks Endpoints that do not hold everything.
const truncated = "endpoints.kubernetes.io/over-capacity"

// slices returns the slices in the object.
func (o *object) slices() []slice {
	// Versions are numbers that grow, which Kubernetes has promised since 1.35.
	version, _ := strconv.ParseUint(o.Metadata.ResourceVersion, 10, 64)
	if o.Subsets == nil {
		return []slice{{o.Metadata.Name, version, o.AddressType == "IPv6", o.Ports, o.Endpoints}}
	}
	var out []slice
	for _, subset := range o.Subsets {
		four := slice{name: o.Metadata.Name, version: version, ports: subset.Ports}
		six := four
		six.ipv6 = true
		take := func(addresses []addressOf, ready bool) {
			for _, a := range addresses {
				e := endpoint{Addresses: []string{a.IP}, Hostname: a.Hostname, NodeName: a.NodeName, TargetRef: a.TargetRef}
				e.Conditions.Ready = &ready
				if ip, err := netip.ParseAddr(a.IP); err == nil && ip.Is6() {
					six.endpoints = append(six.endpoints, e)
				} else {
					four.endpoints = append(four.endpoints, e)
				}
			}
		}
		take(subset.Addresses, true)
		take(subset.NotReadyAddresses, false)
		out = append(out, four, six)
	}
	return out
}

// standing is the meaning of an endpoint's conditions.
type standing uint8

const (
	ready     standing = iota // takes calls
	draining                  // terminates, and serves meanwhile
	unready                   // does not serve; it may come back
	withdrawn                 // terminates and does not serve
)

func (e *endpoint) standing() standing {
	is := func(condition *bool, unless bool) bool {
		if condition == nil {
			return unless
		}
		return *condition
	}
	isReady := is(e.Conditions.Ready, true) // by the API's words
	serving := is(e.Conditions.Serving, isReady)
	switch terminating := is(e.Conditions.Terminating, false); {
	case isReady:
		return ready
	case terminating && serving:
		return draining
	case terminating:
		return withdrawn
	}
	return unready
}

// of returns the port that is meant, or 0 if the slice has none such.
func (p port) of(ports []portOf) int {
	if p.number > 0 {
		return p.number
	}
	for _, o := range ports {
		if p.name == o.Name || p.name == "" && (o.Protocol == "" || o.Protocol == "TCP") {
			return o.Port
		}
	}
	return 0
}

// view is all that is known of a service's endpoints.
type view struct {
	port    port
	service string // as its watchers call it
	objects map[string]*object
}

// whole is the union of all slices.
type whole struct {
	instances []client.Instance
	present   map[string]bool // by ID, ready or not
	withdrawn []string
	truncated bool
}

// union puts all slices together. An endpoint may be in several: the newest counts,
// and of a pod's addresses the IPv4 one.
func (v *view) union() (*whole, error) {
	var all []slice
	w := &whole{present: map[string]bool{}}
	for _, o := range v.objects {
		all = append(all, o.slices()...)
		w.truncated = w.truncated || o.Metadata.Annotations[truncated] == "truncated"
	}
	slices.SortFunc(all, func(a, b slice) int {
		return cmp.Or(-compareBool(a.ipv6, b.ipv6), cmp.Compare(a.version, b.version), cmp.Compare(a.name, b.name))
	})
	type found struct {
		standing standing
		instance client.Instance
	}
	byID := map[string]found{}
	ports := map[string]bool{}
	missed := 0
	for _, s := range all {
		number := v.port.of(s.ports)
		for n := range s.endpoints {
			e := &s.endpoints[n]
			if len(e.Addresses) == 0 || !dialable(e.Addresses[0]) {
				continue
			}
			i := e.instance(v.service, number)
			if w.present[i.ID] = true; number > 0 {
				byID[i.ID] = found{e.standing(), i}
				continue
			}
			missed++
			for _, p := range s.ports {
				ports[p.Name] = true
			}
		}
	}
	for id, f := range byID {
		switch f.standing {
		case withdrawn:
			delete(w.present, id)
			w.withdrawn = append(w.withdrawn, id)
		case ready, draining:
			f.instance.Draining = f.standing == draining
			w.instances = append(w.instances, f.instance)
		}
	}
	if len(byID) == 0 && missed > 0 {
		return nil, fmt.Errorf("client/kubernetes: %s: no endpoint has such a port: name one as in service:8080 or service:http (there are: %q)", v.service, slices.Sorted(maps.Keys(ports)))
	}
	slices.SortFunc(w.instances, func(a, b client.Instance) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(w.withdrawn)
	return w, nil
}

// dialable reports whether an address can stand before a port: an API server lets no
// other pass, but a proxy before it may.
func dialable(address string) bool {
	_, _, err := net.SplitHostPort(net.JoinHostPort(address, "0"))
	return err == nil && address != ""
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// instance is the endpoint as callers find it: a pod by its name, others by address.
// The addresses of an endpoint are interchangeable, and the first is to be used.
func (e *endpoint) instance(service string, port int) client.Instance {
	i := client.Instance{Service: service, Address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(port)), Zone: e.Zone}
	if i.ID = i.Address; e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
		i.ID = e.TargetRef.Name
	}
	var zones []string
	for _, zone := range e.Hints.ForZones {
		zones = append(zones, zone.Name)
	}
	for key, value := range map[string]string{MetaNode: e.NodeName, MetaHostname: e.Hostname, MetaHints: strings.Join(zones, ",")} {
		if value != "" {
			if i.Meta == nil {
				i.Meta = map[string]string{}
			}
			i.Meta[key] = value
		}
	}
	return i
}

// The keys of an instance's metadata.
const (
	MetaNode     = "node"
	MetaHostname = "hostname"
	// MetaHints are the zones whose callers Kubernetes would have use the instance,
	// separated by commas.
	MetaHints = "hint-zones"
)
