package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

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

// Keys returns every key that has or will have an effect, in the order of
// [Config].
func Keys() []Key {
	var out []Key
	walk(reflect.ValueOf(Default()).Elem(), Key{}, func(k Key, v reflect.Value) {
		k.Type, k.Default = typeName(v.Type()), written(v)
		out = append(out, k)
	})
	return out
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

func typeName(t reflect.Type) string {
	switch t {
	case durationType:
		return "duration"
	case registrationType:
		return "services"
	case checksType:
		return "checks"
	case watchesType:
		return "watches"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map of " + typeName(t.Elem())
	case reflect.Float64:
		return "float"
	}
	return t.Kind().String()
}

func written(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return shortDuration(x)
	case string:
		if x == "" {
			return ""
		}
		return fmt.Sprintf("%q", x)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return ""
		}
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration writes 5m instead of 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return `"` + s + `"`
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
