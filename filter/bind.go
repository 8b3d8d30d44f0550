package filter

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// binder fits the comparisons of an expression to a type.
type binder struct {
	budget int // of the regular expressions' programs
}

func (b *binder) bind(n node, t reflect.Type) error {
	switch n := n.(type) {
	case all:
		return b.bindList(n, t)
	case either:
		return b.bindList(n, t)
	case not:
		return b.bind(n.operand, t)
	case *comparison:
		return b.comparison(n, t)
	}
	return fmt.Errorf("filter: unknown node %T", n)
}

func (b *binder) bindList(list []node, t reflect.Type) error {
	for _, n := range list {
		if err := b.bind(n, t); err != nil {
			return err
		}
	}
	return nil
}

// fault is an error in go-bexpr's words, which begin with a capital letter.
func fault(format string, args ...any) error { return fmt.Errorf(format, args...) }

func (b *binder) comparison(c *comparison, t reflect.Type) error {
	at := pointed(t)
	c.fields = make([]int, len(c.selector))
	for i, name := range c.selector {
		next, index, ok := step(at, name)
		if !ok {
			return fault("Selector %q is not valid", strings.Join(c.selector[:i+1], "."))
		}
		at, c.fields[i] = next, index
	}
	coerce := supports(at, c.op)
	if coerce == nil {
		return fault("Invalid match operator %q for selector %q", c.op, c.name())
	}
	if !c.hasValue {
		return nil
	}
	var err error
	if c.want, err = coerce(c.value); err != nil {
		return fault("Failed to coerce value %q for selector %q: %v", c.value, c.name(), err)
	}
	if op, _ := c.op.positive(); op == opMatches {
		if c.regexp, err = compile(c.value, &b.budget); err != nil {
			var l *Limit
			if errors.As(err, &l) {
				return err
			}
			return fault("Failed to compile regular expression %q: %v", c.value, err)
		}
	}
	return nil
}

// step returns the type below t that name selects, and the field's index where t
// is a struct. Elements of lists are looked into: a list is no step of its own.
func step(t reflect.Type, name string) (next reflect.Type, field int, ok bool) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		if _, primitive := coercions[t.Elem().Kind()]; primitive {
			return nil, 0, false
		}
		t = pointed(t.Elem())
	}
	switch t.Kind() {
	case reflect.Map:
		if pointed(t.Key()).Kind() != reflect.String || !selectable(t.Elem()) {
			return nil, 0, false
		}
		return pointed(t.Elem()), 0, true
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.IsExported() && hasName(f, name) && selectable(f.Type) {
				return pointed(f.Type), i, true
			}
		}
	}
	return nil, 0, false
}

func hasName(f reflect.StructField, name string) bool {
	tag := f.Tag.Get("bexpr")
	if tag == "" {
		return f.Name == name
	}
	for _, n := range strings.Split(tag, ",") {
		if n == "-" {
			return false
		}
		if n == name {
			return true
		}
	}
	return false
}

// selectable reports whether anything can be asked of a value of type t.
func selectable(t reflect.Type) bool {
	t = pointed(t)
	_, primitive := coercions[t.Kind()]
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Struct:
		return true
	}
	return primitive
}

func pointed(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// supports returns how a value is read that is compared by op with values of type
// t; nil if op cannot be.
func supports(t reflect.Type, op operator) coercion {
	op, _ = op.positive()
	switch t.Kind() {
	case reflect.Map:
		if op == opEmpty || op == opIn && pointed(t.Key()).Kind() == reflect.String {
			return coerceString
		}
	case reflect.Slice, reflect.Array:
		element, primitive := coercions[t.Elem().Kind()]
		switch {
		case op == opEmpty:
			return coerceString
		case op == opIn && primitive:
			return element
		}
	case reflect.String:
		if op != opEmpty {
			return coerceString
		}
	default:
		if op == opEqual {
			return coercions[t.Kind()]
		}
	}
	return nil
}

// coercion reads a value of an expression as one of a kind.
type coercion func(string) (any, error)

func coerceString(s string) (any, error) { return s, nil }

var coercions = map[reflect.Kind]coercion{
	reflect.Bool:    func(s string) (any, error) { return strconv.ParseBool(s) },
	reflect.Int:     coerceInt(strconv.IntSize),
	reflect.Int8:    coerceInt(8),
	reflect.Int16:   coerceInt(16),
	reflect.Int32:   coerceInt(32),
	reflect.Int64:   coerceInt(64),
	reflect.Uint:    coerceUint(strconv.IntSize),
	reflect.Uint8:   coerceUint(8),
	reflect.Uint16:  coerceUint(16),
	reflect.Uint32:  coerceUint(32),
	reflect.Uint64:  coerceUint(64),
	reflect.Float32: coerceFloat(32),
	reflect.Float64: coerceFloat(64),
	reflect.String:  coerceString,
}

func coerceInt(bits int) coercion {
	return func(s string) (any, error) { return strconv.ParseInt(s, 0, bits) }
}

func coerceUint(bits int) coercion {
	return func(s string) (any, error) { return strconv.ParseUint(s, 0, bits) }
}

func coerceFloat(bits int) coercion {
	return func(s string) (any, error) { return strconv.ParseFloat(s, bits) }
}
