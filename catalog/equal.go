package catalog

import (
	"bytes"
	"maps"
	"reflect"
	"slices"

	"github.com/skerryhq/skerry"
)

func sameNode(a, b *skerry.Node) bool {
	return a.Name == b.Name && a.ID == b.ID && a.Datacenter == b.Datacenter && a.Address == b.Address &&
		sameMap(a.TaggedAddresses, b.TaggedAddresses) && sameMap(a.Meta, b.Meta) && samePointer(a.Locality, b.Locality)
}

func sameInstance(a, b *skerry.Instance) bool {
	return a.ID == b.ID && a.Service == b.Service && a.Address == b.Address && a.Port == b.Port &&
		a.Weights == b.Weights && a.Draining == b.Draining && a.EnableTagOverride == b.EnableTagOverride && a.TagAddress == b.TagAddress &&
		sameList(a.Tags, b.Tags) && sameMap(a.Meta, b.Meta) &&
		sameMap(a.TaggedAddresses, b.TaggedAddresses) && sameExtra(a.Extra, b.Extra)
}

func sameExtra(a, b *skerry.Extra) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SocketPath == b.SocketPath && a.Kind == b.Kind && slices.Equal(a.Ports, b.Ports) &&
		samePointer(a.Locality, b.Locality) && bytes.Equal(a.Proxy, b.Proxy) && bytes.Equal(a.Connect, b.Connect)
}

// sameCheck ignores the output and the time: they wake no watcher.
func sameCheck(a, b *skerry.Check) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Status == b.Status && a.Notes == b.Notes &&
		a.ServiceID == b.ServiceID && a.ServiceName == b.ServiceName && a.Type == b.Type &&
		a.Interval == b.Interval && a.Timeout == b.Timeout && sameList(a.ServiceTags, b.ServiceTags) &&
		(a.Definition == b.Definition || reflect.DeepEqual(a.Definition, b.Definition))
}

// nil and empty differ: a front-end may render them differently.
func sameList(a, b []string) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func sameMap[V comparable](a, b map[string]V) bool {
	return (a == nil) == (b == nil) && maps.Equal(a, b)
}

func samePointer[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
