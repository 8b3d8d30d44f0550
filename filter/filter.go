// Package filter is the filter language of Consul's HTTP API: ?filter= and the
// selectors of binding rules. It accepts what go-bexpr 0.1.2 accepts, evaluates it
// alike and words its errors alike, since scripts look for these words. Unlike that
// library it reads an expression once, in linear time, and within limits.
// DESIGN.md has the grammar and the reasons.
package filter

import (
	"fmt"
	"reflect"
)

// The limits of one expression.
const (
	// MaxLength is the longest expression in bytes.
	MaxLength = 64 << 10
	// MaxDepth is how many parentheses and "not" may enclose a comparison, and how
	// many parts a selector may have.
	MaxDepth = 64
	// MaxComparisons is how many comparisons one expression may make.
	MaxComparisons = 1024
)

// Limit is the error of an expression beyond a limit.
type Limit struct{ text string }

// Error implements [error].
func (e *Limit) Error() string { return e.text }

func limitf(format string, args ...any) error { return &Limit{fmt.Sprintf(format, args...)} }

// Filter is an expression for values of one type. It may be used by many goroutines.
type Filter struct {
	of   reflect.Type
	root node
	cost int
}

// New compiles an expression for values of shape's type: a struct or a map with
// string keys, or a pointer to one. Struct fields have their own names, or those of
// a bexpr tag. The error is worded as go-bexpr words it, or is a [*Limit].
func New(expression string, shape any) (*Filter, error) {
	if len(expression) > MaxLength {
		return nil, limitf("the expression has %d bytes; at most %d are allowed", len(expression), MaxLength)
	}
	root, comparisons, err := parse(expression)
	if err != nil {
		return nil, err
	}
	f := &Filter{of: reflect.TypeOf(shape), root: root, cost: comparisons}
	b := binder{budget: maxProgram}
	if err := b.bind(root, f.of); err != nil {
		return nil, err
	}
	return f, nil
}

// Cost is the number of comparisons that one call of Match makes at most.
func (f *Filter) Cost() int { return f.cost }

// Match reports whether the expression holds for v, which must have the type that
// the filter was made for.
func (f *Filter) Match(v any) (bool, error) {
	if t := reflect.TypeOf(v); t != f.of {
		return false, fmt.Errorf("filter: it is for values of type %v, not %v", f.of, t)
	}
	return f.root.eval(reflect.Indirect(reflect.ValueOf(v)))
}

// node is a part of an expression.
type node interface {
	eval(v reflect.Value) (bool, error)
}

type (
	all    []node // and
	either []node // or
	not    struct{ operand node }
)

func (a all) eval(v reflect.Value) (bool, error) {
	for _, n := range a {
		if ok, err := n.eval(v); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (a either) eval(v reflect.Value) (bool, error) {
	for _, n := range a {
		if ok, err := n.eval(v); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func (n not) eval(v reflect.Value) (bool, error) {
	ok, err := n.operand.eval(v)
	return !ok, err
}
