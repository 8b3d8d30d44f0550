package arrows

import (
	"slices"
	"strings"
	"testing"
)

// floors are the files of tongue/consul, the highest floor first. A file may use what its
// own floor and those below declare. Endpoints are parted further, by family: the first
// word of a file's name.
var floors = []struct {
	name  string
	files []string
}{
	{"routes", []string{"routes", "tongue"}},
	{"endpoints", []string{"acl*", "agent*", "catalog*", "coordinate", "event", "follow*", "health", "join", "kv*", "mesh", "operator*", "own", "query*", "session", "txn"}},
	{"request", []string{"access", "access_own", "access_write", "answer_key", "asked", "audit", "backend", "blocking", "body", "choose", "config", "far", "filter", "followed", "front", "hint", "lists",
		"members", "metrics", "near", "params", "parked", "reader", "reply", "request", "route", "shapes", "sight", "streams"}},
}

// families that may use others: a transaction is made of operations on keys and records.
var familyUses = map[string][]string{"txn": {"kv", "catalog"}}

func floorOf(file string) int {
	name := strings.TrimSuffix(file, ".go")
	return slices.IndexFunc(floors, func(f struct {
		name  string
		files []string
	}) bool {
		return slices.ContainsFunc(f.files, func(pattern string) bool {
			prefix, all := strings.CutSuffix(pattern, "*")
			return name == prefix || all && strings.HasPrefix(name, prefix+"_")
		})
	})
}

func family(file string) string {
	word, _, _ := strings.Cut(strings.TrimSuffix(file, ".go"), "_")
	return word
}

// forbidden returns why an arrow between two files is not allowed; "" if it is.
func (a fileArrow) forbidden() string {
	from, to := floorOf(a.from), floorOf(a.to)
	switch {
	case from < 0:
		return a.from + " is on no floor"
	case to < 0:
		return a.to + " is on no floor"
	case to < from:
		return a.from + " uses " + a.name + " of " + a.to + ": an arrow that runs up, from " + floors[from].name + " to " + floors[to].name
	case from == to && floors[from].name == "endpoints" && family(a.from) != family(a.to) && !slices.Contains(familyUses[family(a.from)], family(a.to)):
		return a.from + " uses " + a.name + " of " + a.to + ": endpoints of different families share by the floor below"
	}
	return ""
}

func TestFloorsOfTheConsulTongue(t *testing.T) {
	arrows := fileArrows(t, module+"/tongue/consul")
	if len(arrows) < 500 {
		t.Fatalf("only %d arrows are seen", len(arrows))
	}
	for _, a := range arrows {
		if why := a.forbidden(); why != "" {
			t.Error(why)
		}
	}
	for _, a := range []fileArrow{
		{"request.go", "kv.go", "x"}, {"reply.go", "routes.go", "x"}, {"health.go", "tongue.go", "x"}, {"health.go", "session.go", "x"}, {"kv.go", "txn.go", "x"}, {"elsewhere.go", "kv.go", "x"},
	} {
		if a.forbidden() == "" {
			t.Errorf("%s may use %s", a.from, a.to)
		}
	}
}
