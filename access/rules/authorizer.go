package rules

import (
	"slices"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry"
)

// Authorizer decides by the rules of several policies together. It is immutable,
// and a decision allocates nothing.
//
// An exact rule beats one for a prefix; of prefixes the longest wins. Where policies
// differ on the same name, deny beats write, write beats list, and list beats read. Names
// without a rule have the default; mesh and peering follow the operator's rule before
// that.
type Authorizer struct {
	tables   [len(resources)]table
	policies []string
}

// table is the rules of one resource.
type table struct {
	exact    map[string]decision
	prefixes []prefixRule // ordered by name
	all      []namedRule  // exact and prefix rules, ordered by name
	fallback decision
}

type decision struct {
	access skerry.Access
	policy int32 // in Authorizer.policies; -1: the default
}

type namedRule struct {
	name   string
	prefix bool
	decision
}

type prefixRule struct {
	name   string
	parent int // the longest other prefix that this one begins with, or -1
	decision
}

// New weighs the policies against each other.
func New(policies []Policy, defaults Defaults) *Authorizer {
	a := &Authorizer{}
	type key struct {
		resource int
		name     string
		prefix   bool
	}
	merged := map[key]decision{}
	for i, p := range policies {
		a.policies = append(a.policies, p.Name)
		for _, r := range p.Rules {
			k := key{number(r.Resource), r.Name, r.Prefix}
			d := decision{r.Access, int32(i)}
			if was, ok := merged[k]; !ok || stronger(d.access, was.access) {
				merged[k] = d
			}
		}
	}
	for k, d := range merged {
		t := &a.tables[k.resource]
		t.all = append(t.all, namedRule{k.name, k.prefix, d})
	}
	for i := range a.tables {
		a.tables[i].build(decision{defaults[resources[i]], -1})
	}
	a.followOperator(skerry.ResourceMesh)
	a.followOperator(skerry.ResourcePeering)
	return a
}

// stronger reports whether a wins over b.
func stronger(a, b skerry.Access) bool {
	if a == skerry.AccessNone || b == skerry.AccessNone {
		return a == skerry.AccessNone && b != skerry.AccessNone
	}
	return a > b
}

func (t *table) build(fallback decision) {
	t.fallback = fallback
	slices.SortFunc(t.all, func(x, y namedRule) int {
		if c := strings.Compare(x.name, y.name); c != 0 {
			return c
		}
		switch {
		case x.prefix == y.prefix:
			return 0
		case x.prefix:
			return -1
		}
		return 1
	})
	for _, r := range t.all {
		if !r.prefix {
			if t.exact == nil {
				t.exact = map[string]decision{}
			}
			t.exact[r.name] = r.decision
			continue
		}
		parent := len(t.prefixes) - 1
		for parent >= 0 && !strings.HasPrefix(r.name, t.prefixes[parent].name) {
			parent = t.prefixes[parent].parent
		}
		t.prefixes = append(t.prefixes, prefixRule{r.name, parent, r.decision})
	}
}

func (a *Authorizer) followOperator(r skerry.Resource) {
	t, operator := &a.tables[number(r)], &a.tables[number(skerry.ResourceOperator)]
	if d, ok := operator.exact[""]; ok {
		t.fallback = d
	}
}

// decide returns the decision on a name.
func (t *table) decide(name string) decision {
	if d, ok := t.exact[name]; ok {
		return d
	}
	if i := t.longest(name); i >= 0 {
		return t.prefixes[i].decision
	}
	return t.fallback
}

// longest returns the longest prefix rule that name begins with, or -1. The last
// rule that is not above name begins with it, or descends from it.
func (t *table) longest(name string) int {
	lo, hi := 0, len(t.prefixes)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if t.prefixes[mid].name <= name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	i := lo - 1
	for i >= 0 && !strings.HasPrefix(name, t.prefixes[i].name) {
		i = t.prefixes[i].parent
	}
	return i
}

// Allows is [skerry.Identity.Allows].
func (a *Authorizer) Allows(r skerry.Resource, name string, want skerry.Access) bool {
	n := number(r)
	return n >= 0 && a.tables[n].decide(name).access >= want
}

// AllowsBelow is [skerry.Identity.AllowsBelow]: the rule for the prefix itself must allow
// it, and so must every rule for a name that begins with it.
func (a *Authorizer) AllowsBelow(r skerry.Resource, prefix string, want skerry.Access) bool {
	n := number(r)
	if n < 0 {
		return false
	}
	t := &a.tables[n]
	base := t.fallback
	if i := t.longest(prefix); i >= 0 {
		base = t.prefixes[i].decision
	}
	if base.access < want {
		return false
	}
	i, _ := slices.BinarySearchFunc(t.all, prefix, func(r namedRule, p string) int { return strings.Compare(r.name, p) })
	for ; i < len(t.all) && strings.HasPrefix(t.all[i].name, prefix); i++ {
		if t.all[i].access < want {
			return false
		}
	}
	return true
}

// Rule is [skerry.Identity.Rule].
func (a *Authorizer) Rule(r skerry.Resource, name string) string {
	n := number(r)
	if n < 0 {
		return "no rule: there is no resource " + strconv.Quote(string(r))
	}
	t := &a.tables[n]
	if d, ok := t.exact[name]; ok {
		return a.told(Rule{r, name, false, d.access}, d)
	}
	if i := t.longest(name); i >= 0 {
		return a.told(Rule{r, t.prefixes[i].name, true, t.prefixes[i].access}, t.prefixes[i].decision)
	}
	if t.fallback.policy >= 0 {
		return a.told(Rule{skerry.ResourceOperator, "", false, t.fallback.access}, t.fallback)
	}
	return "no rule names it: the default is " + t.fallback.access.String()
}

func (a *Authorizer) told(r Rule, d decision) string {
	return "policy " + strconv.Quote(a.policies[d.policy]) + ": " + r.String()
}
