package gozero

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// block is a mapping of a file. Its methods note the first mistake and go on.
type block struct {
	values map[string]any
	path   string // in the file; "" is the file
	// around is the block that Etcd is inherited from; nil for the file, and within a
	// list.
	around *block
	err    *error
}

// step is a part of a path: a key, or a number in a list.
type step struct {
	key   string
	index int // -1: it is a key
}

// steps takes a path such as "Upstreams[0].Grpc" apart.
func steps(path string) (out []step, err error) {
	if path == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(path, ".") {
		key, rest, listed := strings.Cut(part, "[")
		if key == "" {
			return nil, fmt.Errorf("the path %q: want one such as OrdersRpc or Upstreams[0].Grpc", path)
		}
		out = append(out, step{key, -1})
		for listed {
			var number string
			var closed bool
			number, rest, closed = strings.Cut(rest, "]")
			n, err := strconv.ParseUint(number, 10, 31)
			if err != nil || !closed {
				return nil, fmt.Errorf("the path %q: want one such as OrdersRpc or Upstreams[0].Grpc", path)
			}
			out = append(out, step{"", int(n)})
			if listed = strings.HasPrefix(rest, "["); listed {
				rest = rest[1:]
			} else if rest != "" {
				return nil, fmt.Errorf("the path %q: want one such as OrdersRpc or Upstreams[0].Grpc", path)
			}
		}
	}
	return out, nil
}

// find returns the block at a path below b.
func (b *block) find(path string) (*block, error) {
	todo, err := steps(path)
	if err != nil {
		return nil, err
	}
	at, around := "", b
	var value any = b.values
	for _, s := range todo {
		if s.index >= 0 {
			at += "[" + strconv.Itoa(s.index) + "]"
			list, _ := value.([]any)
			if s.index >= len(list) {
				return nil, fmt.Errorf("there is no block %s: the list has %d elements", at, len(list))
			}
			value, around = list[s.index], nil
		} else {
			at = strings.TrimPrefix(at+"."+s.key, ".")
			m, _ := value.(map[string]any)
			next, err := lookup(m, s.key)
			if err != nil {
				return nil, err
			}
			if next == nil {
				return nil, fmt.Errorf("there is no block %s; beside it are: %s", at, strings.Join(slices.Sorted(maps.Keys(m)), ", "))
			}
			value = next
		}
		if m, ok := value.(map[string]any); ok {
			around = &block{values: m, path: at, around: around, err: b.err}
		}
	}
	if _, ok := value.(map[string]any); !ok {
		return nil, fmt.Errorf("%s is no block of keys and values", at)
	}
	return around, nil
}

// lookup returns the value of a key, whatever its capitals; nil where there is none.
func lookup(m map[string]any, key string) (value any, err error) {
	found := ""
	for k, v := range m {
		if !strings.EqualFold(k, key) {
			continue
		}
		if found != "" {
			return nil, fmt.Errorf("%s is there twice: as %s and as %s", key, min(k, found), max(k, found))
		}
		found, value = k, v
	}
	return value, nil
}

// where names the block in messages.
func (b *block) where(file string) string {
	if b.path == "" {
		return file
	}
	return file + ", " + b.path
}

// get returns the value of a key, nil if there is none.
func (b *block) get(key string) any {
	value, err := lookup(b.values, key)
	if err != nil && *b.err == nil {
		*b.err = err
	}
	return value
}

// wrong notes a wrong value, without the value itself, which may be a secret.
func (b *block) wrong(key, want string) {
	if *b.err == nil {
		*b.err = fmt.Errorf("%s: want %s", key, want)
	}
}

func (b *block) text(key string) string {
	switch v := b.get(key).(type) {
	case nil:
	case string:
		return v
	default:
		b.wrong(key, "text; numbers and booleans must be quoted")
	}
	return ""
}

// texts returns a list of texts; one text is a list in JSON.
func (b *block) texts(key string) (out []string) {
	value := b.get(key)
	if text, ok := value.(string); ok && text != "" {
		list := []any{}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&list) != nil {
			b.wrong(key, "a list of texts")
			return nil
		}
		value = list
	} else if ok {
		return nil
	}
	list, ok := value.([]any)
	if !ok && value != nil {
		b.wrong(key, "a list of texts")
	}
	for _, element := range list {
		switch v := element.(type) {
		case string:
			out = append(out, v)
		case json.Number:
			out = append(out, v.String())
		default:
			b.wrong(key, "a list of texts")
		}
	}
	return out
}

func (b *block) truth(key string, missing bool) bool {
	switch v := b.get(key).(type) {
	case nil:
	case bool:
		return v
	default:
		b.wrong(key, "true or false")
	}
	return missing
}

func (b *block) number(key string, missing int64) int64 {
	switch v := b.get(key).(type) {
	case nil:
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			b.wrong(key, "a whole number")
		}
		return n
	default:
		b.wrong(key, "a whole number")
	}
	return missing
}

func (b *block) milliseconds(key string, missing time.Duration) time.Duration {
	n := b.number(key, missing.Milliseconds())
	if n < math.MinInt64/int64(time.Millisecond) || n > math.MaxInt64/int64(time.Millisecond) {
		b.wrong(key, "milliseconds, fewer than that")
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// duration returns a time such as "20s".
func (b *block) duration(key string) time.Duration {
	if b.get(key) == nil {
		return 0
	}
	text, _ := b.get(key).(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		b.wrong(key, `a time such as "20s"`)
	}
	return d
}

// block returns the block of a key, which is empty if there is none.
func (b *block) block(key string) *block {
	m, ok := b.get(key).(map[string]any)
	if !ok && b.get(key) != nil {
		b.wrong(key, "a block of keys and values")
	}
	return &block{values: m, path: strings.TrimPrefix(b.path+"."+key, "."), around: b, err: b.err}
}

// etcd returns the block Etcd, with the values that it inherits.
func (b *block) etcd() Etcd {
	merged := map[string]any{}
	for at := b; at != nil; at = at.around {
		for key, value := range at.block("Etcd").values {
			if inner, err := lookup(merged, key); err == nil && inner == nil {
				merged[key] = value
			}
		}
	}
	e := &block{values: merged, err: new(error)}
	out := Etcd{
		Hosts: e.texts("Hosts"), Key: e.text("Key"), ID: e.number("ID", 0), User: e.text("User"), Pass: e.text("Pass"),
		CertFile: e.text("CertFile"), CertKeyFile: e.text("CertKeyFile"), CACertFile: e.text("CACertFile"),
		InsecureSkipVerify: e.truth("InsecureSkipVerify", false),
	}
	if *e.err == nil && ((out.CertFile == "") != (out.CertKeyFile == "") || (out.CertFile == "") != (out.CACertFile == "")) {
		*e.err = errors.New("CertFile, CertKeyFile and CACertFile belong together: not all are there")
	}
	if *e.err != nil && *b.err == nil {
		*b.err = fmt.Errorf("Etcd: %w", *e.err)
	}
	return out
}
