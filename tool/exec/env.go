package exec

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// naming is how keys become names of variables.
type naming struct{ sanitize, upcase bool }

var unfit = regexp.MustCompile(`[^A-Za-z0-9_]`)

// name returns the variable for a key below a folder, "" for the folder itself and
// folders in it.
func (n naming) name(folder, key string) string {
	name := strings.TrimLeft(strings.TrimPrefix(key, folder), "/")
	if strings.TrimSpace(name) == "" || strings.HasSuffix(name, "/") {
		return ""
	}
	if n.sanitize {
		name = unfit.ReplaceAllString(name, "_")
	}
	if n.upcase {
		name = strings.ToUpper(name)
	}
	return name
}

// variables returns the variables of the pairs below a folder, and the keys that no
// environment can hold.
func (n naming) variables(folder string, pairs api.KVPairs) (vars map[string]string, refused []string) {
	vars = map[string]string{}
	for _, p := range pairs {
		name, value := n.name(folder, p.Key), string(p.Value)
		switch {
		case name == "":
		case strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00"):
			refused = append(refused, p.Key)
		default:
			vars[name] = value
		}
	}
	return vars, refused
}

// environment returns an environment with the variables set in it.
func environment(inherited []string, vars map[string]string) []string {
	out := make([]string, 0, len(inherited)+len(vars))
	for _, kv := range inherited {
		name, _, _ := strings.Cut(kv, "=")
		if _, over := vars[name]; !over {
			out = append(out, kv)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, name+"="+vars[name])
	}
	return out
}
