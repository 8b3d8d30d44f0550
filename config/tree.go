package config

import (
	"fmt"
	"strconv"
	"strings"
)

// kind is the kind of a value that was written.
type kind uint8

const (
	null kind = iota
	text
	number
	boolean
	list
	object
)

// value is a value in a file, before its type is known.
type value struct {
	kind    kind
	line    int    // where it begins; 0 for flags
	text    string // of texts, numbers and booleans
	items   []*value
	members []member
}

// member is one key of an object with its value.
type member struct {
	key   string
	line  int
	value *value
}

// maxDepth is how deep values may be nested; people write less by hand.
const maxDepth = 100

// set adds a member. A second object or list for a key joins the first, as a
// repeated block does in HCL; a second value of another kind replaces it.
func (v *value) set(key string, line int, x *value) {
	for i := range v.members {
		m := &v.members[i]
		if m.key != key {
			continue
		}
		if gathers(m.value) && gathers(x) {
			m.value = &value{kind: list, line: m.value.line, items: append(m.value.elements(), x.elements()...)}
		} else {
			m.value, m.line = x, line
		}
		return
	}
	v.members = append(v.members, member{key, line, x})
}

func gathers(v *value) bool { return v.kind == object || v.kind == list }

// elements returns a list's items, or any other value as a list of one.
func (v *value) elements() []*value {
	switch v.kind {
	case list:
		return v.items
	case null:
		return nil
	}
	return []*value{v}
}

// merged returns an object, or a list of objects as the one object they make.
func (v *value) merged() (*value, bool) {
	if v.kind == object {
		return v, true
	}
	if v.kind != list {
		return nil, false
	}
	out := &value{kind: object, line: v.line}
	for _, i := range v.items {
		if i.kind != object {
			return nil, false
		}
		for _, m := range i.members {
			out.set(m.key, m.line, m.value)
		}
	}
	return out, true
}

// found describes the value for a person.
func (v *value) found() string {
	switch v.kind {
	case null:
		return "null"
	case text:
		return "the string " + strconv.Quote(shortened(v.text))
	case number:
		return "the number " + shortened(v.text)
	case boolean:
		return v.text
	case list:
		return "a list"
	}
	return "an object"
}

func shortened(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:57], "") + "..."
	}
	return s
}

// plain returns the value as encoding/json would have decoded it, numbers as
// int64 or float64.
func (v *value) plain() any {
	switch v.kind {
	case text:
		return v.text
	case number:
		if n, err := strconv.ParseInt(v.text, 0, 64); err == nil {
			return n
		}
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil {
			return v.text // beyond what a float holds
		}
		return f
	case boolean:
		return v.text == "true"
	case list:
		out := make([]any, 0, len(v.items))
		for _, i := range v.items {
			out = append(out, i.plain())
		}
		return out
	case object:
		out := make(map[string]any, len(v.members))
		for _, m := range v.members {
			out[m.key] = m.value.plain()
		}
		return out
	}
	return nil
}

// fromGo makes a value of a flag's argument.
func fromGo(x any) (*value, error) {
	switch x := x.(type) {
	case nil:
		return &value{kind: null}, nil
	case string:
		return &value{kind: text, text: x}, nil
	case bool:
		return &value{kind: boolean, text: strconv.FormatBool(x)}, nil
	case int:
		return &value{kind: number, text: strconv.Itoa(x)}, nil
	case []string:
		v := &value{kind: list}
		for _, s := range x {
			v.items = append(v.items, &value{kind: text, text: s})
		}
		return v, nil
	case map[string]string:
		v := &value{kind: object}
		for _, k := range sortedKeys(x) {
			v.set(k, 0, &value{kind: text, text: x[k]})
		}
		return v, nil
	}
	return nil, fmt.Errorf("a flag cannot be a %T", x)
}
