package agent

import (
	"reflect"

	"github.com/skerryhq/skerry"
)

// sameInstance compares what was registered, not when.
func sameInstance(a, b *skerry.Instance) bool {
	x, y := *a, *b
	x.Stamp, y.Stamp = skerry.Stamp{}, skerry.Stamp{}
	return reflect.DeepEqual(x, y)
}
