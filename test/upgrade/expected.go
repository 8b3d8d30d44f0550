// Package upgrade holds data folders that earlier commits wrote, and what they had in
// them, for a test that opens them with the present binary.
package upgrade

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Snapshot is the name of a snapshot of the store in a folder, which the server itself
// does not look at.
const Snapshot = "fixture.snap"

// Expected is what a folder holds.
type Expected struct {
	Commit string // that wrote the folder
	ACL    bool   // whether access control is on
	Store  bool   // whether keys, sessions and queries are in it
	Token  string `json:",omitempty"` // of the bootstrap
	Facts  []Fact
}

// Fact is what an endpoint answered to the commit's own binary.
type Fact struct {
	Path  string
	Token string `json:",omitempty"` // in place of the bootstrap's
	Want  any
}

// volatile are fields that a restart may change: indexes of the catalog, which each
// process counts anew, the outputs of checks, and what a check ran last.
var volatile = []string{"CreateIndex", "ModifyIndex", "ContentHash", "Hash", "Output", "LastRun"}

// Steady returns an answer without the fields that a restart may change. Indexes of keys
// and sessions are the store's own and stay.
func Steady(path string, answer any) any {
	keep := strings.HasPrefix(path, "/v1/kv/") || strings.HasPrefix(path, "/v1/session/")
	switch v := answer.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			if keep || !slices.Contains(volatile, name) {
				out[name] = Steady(path, value)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = Steady(path, value)
		}
		return out
	}
	return answer
}

// Missing returns the paths of values in want that have lacks. Additional fields of have
// are no loss.
func Missing(at string, want, have any) []string {
	switch want := want.(type) {
	case map[string]any:
		object, ok := have.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want an object", at, have)}
		}
		var out []string
		for _, name := range slices.Sorted(maps.Keys(want)) {
			value, ok := object[name]
			if !ok {
				out = append(out, fmt.Sprintf("%s.%s is missing, want %v", at, name, want[name]))
				continue
			}
			out = append(out, Missing(at+"."+name, want[name], value)...)
		}
		return out
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(want) {
			return []string{fmt.Sprintf("%s is %v, want %v", at, have, want)}
		}
		var out []string
		for i := range want {
			missing := Missing(fmt.Sprintf("%s[%d]", at, i), want[i], list[i])
			if len(missing) > 0 && isObject(want[i]) && slices.ContainsFunc(list, func(v any) bool { return Missing("", want[i], v) == nil }) {
				continue // commits order lists of objects in different ways
			}
			out = append(out, missing...)
		}
		return out
	}
	if !reflect.DeepEqual(want, have) {
		return []string{fmt.Sprintf("%s is %v, want %v", at, have, want)}
	}
	return nil
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

// Decode reads an answer; numbers stay as they are written.
func Decode(answer string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(answer))
	d.UseNumber()
	return v, d.Decode(&v)
}
