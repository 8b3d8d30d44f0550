package agent

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/skerryhq/skerry"
)

// Registrations are compared as the journal keeps them: it does not distinguish an empty
// list from none, so a set that came back from disk must equal the one registered.

// sameInstance compares the registrations, not their times.
func sameInstance(a, b *skerry.Instance) bool {
	return a.ID == b.ID && a.Service == b.Service && a.Address == b.Address && a.Port == b.Port &&
		a.Weights == b.Weights && a.Draining == b.Draining && a.EnableTagOverride == b.EnableTagOverride && a.TagAddress == b.TagAddress &&
		slices.Equal(a.Tags, b.Tags) && maps.Equal(a.Meta, b.Meta) &&
		maps.Equal(a.TaggedAddresses, b.TaggedAddresses) && sameJSON(a.Extra, b.Extra)
}

func sameDefinition(a, b *skerry.CheckDefinition) bool { return sameJSON(a, b) }

func sameJSON[T any](a, b *T) bool {
	if a == b || reflect.DeepEqual(a, b) {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
