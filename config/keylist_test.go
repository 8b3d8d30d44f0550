package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

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
