package config

import (
	"reflect"
	"slices"

	"github.com/skerryhq/skerry"
)

// Key describes one key of the configuration.
type Key struct {
	Path    string // "dns_config.node_ttl"
	Type    string // string, bool, int, float, duration, list or map of these, services, checks, watches
	Default string // as it would be written; "" for empty
	Class   string // C core, U useful, S Skerry's own
	Reload  bool   // a reload changes it
	Later   bool   // kept without effect yet

	owner reflect.Type // the struct and field that hold it
	field string
}

// walk calls leaf for every key below v that is no section.
func walk(v reflect.Value, section Key, leaf func(Key, reflect.Value)) {
	for _, f := range fields(v.Type()) {
		k := section
		k.Path = join(section.Path, f.key)
		k.owner, k.field = v.Type(), f.name
		k.Reload = k.Reload || f.reload
		k.Later = k.Later || f.later
		if v.Type() != reflect.TypeFor[skerry.Locality]() {
			k.Class = f.class
		}
		if x := v.Field(f.index); x.Kind() == reflect.Struct {
			walk(x, k, leaf)
		} else {
			leaf(k, x)
		}
	}
}

// Restart returns the paths of the keys that differ between c and other and
// that a reload cannot change, in order.
func (c *Config) Restart(other *Config) []string {
	theirs := map[string]reflect.Value{}
	walk(reflect.ValueOf(other).Elem(), Key{}, func(k Key, v reflect.Value) { theirs[k.Path] = v })
	var out []string
	if c.Dev != other.Dev {
		out = append(out, "dev")
	}
	walk(reflect.ValueOf(c).Elem(), Key{}, func(k Key, v reflect.Value) {
		if !k.Reload && !same(v, theirs[k.Path]) {
			out = append(out, k.Path)
		}
	})
	slices.Sort(out)
	return out
}

// same compares values; an empty list or map is no other than none.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Slice, reflect.Map:
		if a.Len() == 0 && b.Len() == 0 {
			return true
		}
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
