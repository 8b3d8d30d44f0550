package filter

import (
	"reflect"
	"regexp"
	"strings"
)

// comparison is a leaf of an expression.
type comparison struct {
	selector []string
	fields   []int // of structs, by place in the selector
	op       operator
	value    string
	hasValue bool
	want     any // value, as the type of the selected values has it
	regexp   *regexp.Regexp
}

func (c *comparison) name() string { return strings.Join(c.selector, ".") }

// eval implements node.
func (c *comparison) eval(v reflect.Value) (bool, error) { return c.below(v, 0) }

// below follows the selector from its place depth on.
func (c *comparison) below(v reflect.Value, depth int) (bool, error) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() {
		return c.missing(), nil
	}
	if depth == len(c.selector) {
		op, negated := c.op.positive()
		return c.holds(op, v) != negated, nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return c.below(v.Field(c.fields[depth]), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if ok, err := c.below(v.Index(i), depth); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case reflect.Map:
		return c.below(v.MapIndex(reflect.ValueOf(c.selector[depth]).Convert(v.Type().Key())), depth+1)
	}
	return false, fault("Value at selector %q with type %s does not support nested field selection", strings.Join(c.selector[:depth], "."), v.Kind())
}

// missing is the outcome for missing values. As in go-bexpr it matches every regular
// expression.
func (c *comparison) missing() bool {
	switch c.op {
	case opEqual, opNotEmpty, opIn:
		return false
	}
	return true
}

func (c *comparison) holds(op operator, v reflect.Value) bool {
	switch op {
	case opEmpty:
		return v.Len() == 0
	case opMatches:
		return c.regexp.MatchString(v.String())
	case opIn:
		return c.in(v)
	}
	return equal(v, c.want)
}

func (c *comparison) in(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map:
		return v.MapIndex(reflect.ValueOf(c.want).Convert(v.Type().Key())).IsValid()
	case reflect.String:
		return strings.Contains(v.String(), c.want.(string))
	}
	for i := range v.Len() {
		if equal(v.Index(i), c.want) {
			return true
		}
	}
	return false
}

func equal(v reflect.Value, want any) bool {
	switch w := want.(type) {
	case string:
		return v.String() == w
	case bool:
		return v.Bool() == w
	case int64:
		return v.Int() == w
	case uint64:
		return v.Uint() == w
	case float64:
		return v.Float() == w
	}
	return false
}
