package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// decoder brings one source into a Config and gathers its errors.
type decoder struct {
	file     string
	set      map[string]bool
	warnings []Warning
	errs     []error
	warned   map[string]bool
	later    int  // how many of the sections around are without effect yet
	legacy   bool // old Consul's script stands for args
	loose    bool // flags: texts may stand for numbers and booleans
}

func (d *decoder) errorf(line int, format string, args ...any) {
	d.errs = append(d.errs, skerry.Errorf(skerry.Invalid, "%s%s", fmt.Sprintf(format, args...), d.where(line)))
}

func (d *decoder) where(line int) string {
	switch {
	case d.file == "":
		return ""
	case line == 0:
		return " in " + d.file
	}
	return fmt.Sprintf(" in %s:%d", d.file, line)
}

func (d *decoder) warn(key string, line int, message string) {
	d.note(Warning{Key: key, Line: line, Message: message})
}

// note adds a warning, unless there is one of its key.
func (d *decoder) note(w Warning) {
	if d.warned[w.Key] {
		return
	}
	if d.warned == nil {
		d.warned = map[string]bool{}
	}
	d.warned[w.Key] = true
	w.File = d.file
	d.warnings = append(d.warnings, w)
}

// field is a struct field with the content of its tag.
type field struct {
	key    string
	class  string
	reload bool
	later  bool
	index  int
	name   string
	typ    reflect.Type
}

// fields returns the fields of a struct that have keys, in order. Types of the
// root package have JSON tags instead of ours.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("config")
		if tag == "" {
			tag = f.Tag.Get("json")
		}
		parts := strings.Split(tag, ",")
		if !f.IsExported() || parts[0] == "" || parts[0] == "-" {
			continue
		}
		x := field{key: parts[0], index: i, name: f.Name, typ: f.Type}
		if len(parts) > 1 {
			x.class = parts[1]
		}
		x.reload = slices.Contains(parts, "reload")
		x.later = slices.Contains(parts, "later")
		out = append(out, x)
	}
	return out
}

// plainKey is how keys are compared: Name, name and NAME are one, so are
// service_id and ServiceID.
func plainKey(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "_", ""))
}

// structure decodes an object's keys into the fields of dst.
func (d *decoder) structure(dst reflect.Value, v *value, path string) {
	obj, ok := v.merged()
	if !ok {
		d.wrongType(v, path, "an object")
		return
	}
	known := fields(dst.Type())
	for _, m := range obj.members {
		key := plainKey(m.key)
		if to, ok := synonyms[dst.Type()][key]; ok {
			key = plainKey(to)
		}
		if key == "script" && dst.Type() == checkType {
			d.script(dst, m, join(path, "args"))
			continue
		}
		i := slices.IndexFunc(known, func(f field) bool { return plainKey(f.key) == key })
		if i < 0 {
			d.unknown(m, path, dst.Type(), known)
			continue
		}
		f := known[i]
		at := join(path, f.key)
		if m.value.kind == null {
			continue
		}
		d.set[at] = true
		d.within(f, m, at, func() { d.value(dst.Field(f.index), m.value, at) })
	}
}

// within decodes a key, and notes a warning when it or a section around it is
// without effect yet. Load drops the notes of keys that ask for nothing.
func (d *decoder) within(f field, m member, at string, decode func()) {
	section := f.typ.Kind() == reflect.Struct
	if section && f.later {
		d.later++
		defer func() { d.later-- }()
	}
	if !section && (f.later || d.later > 0) {
		d.note(Warning{Key: at, Line: m.line, Message: "is kept but has no effect yet" + laterNote[at], later: true})
	}
	decode()
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) unknown(m member, path string, t reflect.Type, known []field) {
	at := join(path, m.key)
	if why, ok := ignoredKey(t, m.key); ok {
		if why != tuning && !m.value.asksNothing() {
			d.warn(at, m.line, why)
		}
		return
	}
	keys := make([]string, 0, len(known))
	for _, f := range known {
		keys = append(keys, f.key)
	}
	hint := ""
	if near := nearest(m.key, keys); near != "" {
		hint = "; did you mean " + near + "?"
	}
	d.errs = append(d.errs, skerry.Errorf(skerry.Invalid, "unknown key %s%s%s", at, d.where(m.line), hint))
}

func (d *decoder) wrongType(v *value, path, want string) {
	d.errorf(v.line, "%s: want %s, found %s", path, want, v.found())
}

var (
	durationType     = reflect.TypeFor[time.Duration]()
	registrationType = reflect.TypeFor[[]skerry.Registration]()
	checksType       = reflect.TypeFor[[]skerry.CheckDefinition]()
	watchesType      = reflect.TypeFor[[]Watch]()
	rawType          = reflect.TypeFor[rawJSON]()
	checkType        = reflect.TypeFor[skerry.CheckDefinition]()
	healthType       = reflect.TypeFor[skerry.Health]()
)

// value decodes v into dst, by dst's type. A mistake leaves dst as it is.
func (d *decoder) value(dst reflect.Value, v *value, path string) {
	switch dst.Type() {
	case durationType:
		if x, ok := d.duration(v, path); ok {
			dst.SetInt(int64(x))
		}
		return
	case registrationType:
		d.services(dst.Addr().Interface().(*[]skerry.Registration), v, path)
		return
	case checksType:
		d.checks(dst.Addr().Interface().(*[]skerry.CheckDefinition), v, path)
		return
	case watchesType:
		d.watches(dst.Addr().Interface().(*[]Watch), v, path)
		return
	case rawType:
		b, err := json.Marshal(v.camel())
		if err != nil {
			d.errorf(v.line, "%s: %v", path, err)
			return
		}
		dst.SetBytes(b)
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		d.structure(dst, v, path)
	case reflect.Pointer:
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		d.value(dst.Elem(), v, path)
	case reflect.Slice:
		d.list(dst, v, path)
	case reflect.Map:
		d.mapping(dst, v, path)
	default:
		d.scalar(dst, v, path)
	}
}

// script takes old Consul's line for the shell, where that is allowed. It is refused
// in the words of the HTTP API.
func (d *decoder) script(check reflect.Value, m member, args string) {
	switch {
	case !d.legacy:
		d.errorf(m.line, "unknown key %s (old Consul's form; set legacy_api = true to allow it, or use args)", strings.TrimSuffix(args, "args")+m.key)
	case m.value.kind != text:
		d.wrongType(m.value, strings.TrimSuffix(args, "args")+m.key, "a string")
	case m.value.text != "":
		d.set[args] = true
		check.Addr().Interface().(*skerry.CheckDefinition).Args = []string{"/bin/sh", "-c", m.value.text}
	}
}

func (d *decoder) scalar(dst reflect.Value, v *value, path string) {
	switch dst.Kind() {
	case reflect.String:
		if v.kind != text {
			d.wrongType(v, path, "a string")
			return
		}
		if h := skerry.Health(v.text); dst.Type() == healthType && v.text != "" && !h.Valid() {
			d.wrongType(v, path, "passing, warning or critical")
			return
		}
		dst.SetString(v.text)
	case reflect.Bool:
		b, err := strconv.ParseBool(v.text)
		if err != nil || v.kind != boolean && !(d.loose && v.kind == text) {
			d.wrongType(v, path, "true or false")
			return
		}
		dst.SetBool(b)
	case reflect.Int:
		n, ok := d.whole(v)
		if !ok {
			d.wrongType(v, path, "a whole number")
			return
		}
		dst.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil || math.IsNaN(f) || v.kind != number && !(d.loose && v.kind == text) {
			d.wrongType(v, path, "a number")
			return
		}
		dst.SetFloat(f)
	default:
		panic("config: no decoding for " + dst.Type().String())
	}
}

func (d *decoder) whole(v *value) (int64, bool) {
	if v.kind != number && !(d.loose && v.kind == text) {
		return 0, false
	}
	if n, err := strconv.ParseInt(v.text, 0, 64); err == nil {
		return n, true
	}
	// 1e3 and 8600.0 are whole numbers too; beyond 2^53 a float would round.
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// duration takes "30s". A number is refused, as by Consul: the HTTP API takes it for
// nanoseconds, but the author of a file means seconds.
func (d *decoder) duration(v *value, path string) (time.Duration, bool) {
	switch v.kind {
	case text:
		if x, err := time.ParseDuration(v.text); err == nil {
			return x, true
		}
		if _, err := strconv.ParseFloat(v.text, 64); err == nil {
			d.wrongType(v, path, fmt.Sprintf(`a duration with its unit, such as %q`, v.text+"s"))
			return 0, false
		}
	case number:
		fix := shortened(v.text) + "s"
		if n, ok := d.whole(v); ok && n >= int64(time.Millisecond) {
			fix = time.Duration(n).String() // so great a number meant nanoseconds
		}
		d.wrongType(v, path, fmt.Sprintf("a duration with its unit, in quotes, such as %q", fix))
		return 0, false
	}
	d.wrongType(v, path, `a duration such as "30s" or "5m"`)
	return 0, false
}

func (d *decoder) list(dst reflect.Value, v *value, path string) {
	items := v.items
	switch {
	case v.kind == list:
	case v.kind == object && dst.Type().Elem().Kind() == reflect.Struct:
		items = []*value{v}
	case d.loose && v.kind == text:
		items = []*value{v}
	default:
		d.wrongType(v, path, "a list")
		return
	}
	for i, item := range items {
		x := reflect.New(dst.Type().Elem()).Elem()
		before := len(d.errs)
		d.value(x, item, fmt.Sprintf("%s[%d]", path, i))
		if len(d.errs) == before {
			dst.Set(reflect.Append(dst, x))
		}
	}
}

func (d *decoder) mapping(dst reflect.Value, v *value, path string) {
	obj, ok := v.merged()
	if !ok {
		d.wrongType(v, path, "an object")
		return
	}
	if dst.IsNil() {
		dst.Set(reflect.MakeMap(dst.Type()))
	}
	for _, m := range obj.members {
		if m.value.kind == null {
			continue
		}
		x := reflect.New(dst.Type().Elem()).Elem()
		before := len(d.errs)
		d.value(x, m.value, join(path, m.key))
		if len(d.errs) == before {
			dst.SetMapIndex(reflect.ValueOf(m.key), x)
		}
	}
}

// overlay copies the fields of own whose key is set onto dst, both pointers to
// the same type.
func overlay(dst, own any, isSet func(key string) bool) {
	d, o := reflect.ValueOf(dst).Elem(), reflect.ValueOf(own).Elem()
	for _, f := range fields(d.Type()) {
		if isSet(f.key) {
			d.Field(f.index).Set(o.Field(f.index))
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
