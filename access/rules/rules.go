// Package rules reads the rules of policies and decides by them. It is pure: no
// store, no clock, no network. The language and the way rules are weighed against
// each other are those of Consul's documentation ("ACL rules").
package rules

import (
	"strconv"

	"github.com/skerryhq/skerry"
)

// Rule grants or denies access to one thing, or to all whose name begins with one.
type Rule struct {
	Resource skerry.Resource
	Name     string
	Prefix   bool // Name is the beginning of names
	Access   skerry.Access
}

// String returns the rule as it is written in HCL.
func (r Rule) String() string {
	if nameless[r.Resource] {
		return string(r.Resource) + " = " + strconv.Quote(r.Access.String())
	}
	kind := string(r.Resource)
	if r.Prefix {
		kind += "_prefix"
	}
	return kind + " " + strconv.Quote(r.Name) + " { policy = " + strconv.Quote(r.Access.String()) + " }"
}

// Policy is rules with the name that people know them by.
type Policy struct {
	Name  string
	Rules []Rule
}

// Defaults is the access to names without a rule, by resource. Missing resources are
// denied.
type Defaults map[skerry.Resource]skerry.Access

// The presets. None of them opens the resource acl: the permission to write tokens
// includes all others.
var (
	// Strict denies access without a rule that allows it.
	Strict = Defaults{}
	// ReadOpen lets everybody find services: it opens the resources that discovery reads.
	// Keys are not, since they often hold secrets.
	ReadOpen = Defaults{
		skerry.ResourceAgent: skerry.AccessRead, skerry.ResourceEvent: skerry.AccessRead, skerry.ResourceNode: skerry.AccessRead,
		skerry.ResourceQuery: skerry.AccessRead, skerry.ResourceService: skerry.AccessRead, skerry.ResourceSession: skerry.AccessRead,
	}
	// Open allows access without a rule that denies it.
	Open = Defaults{
		skerry.ResourceAgent: skerry.AccessWrite, skerry.ResourceEvent: skerry.AccessWrite, skerry.ResourceKey: skerry.AccessWrite,
		skerry.ResourceKeyring: skerry.AccessWrite, skerry.ResourceMesh: skerry.AccessWrite, skerry.ResourceNode: skerry.AccessWrite,
		skerry.ResourceOperator: skerry.AccessWrite, skerry.ResourcePeering: skerry.AccessWrite, skerry.ResourceQuery: skerry.AccessWrite,
		skerry.ResourceService: skerry.AccessWrite, skerry.ResourceSession: skerry.AccessWrite,
	}
)

// resources are all, in the order of their number in an [Authorizer].
var resources = [...]skerry.Resource{
	skerry.ResourceACL, skerry.ResourceAgent, skerry.ResourceEvent, skerry.ResourceKey, skerry.ResourceKeyring, skerry.ResourceMesh,
	skerry.ResourceNode, skerry.ResourceOperator, skerry.ResourcePeering, skerry.ResourceQuery, skerry.ResourceService, skerry.ResourceSession,
}

// nameless are the resources of which there is one.
var nameless = map[skerry.Resource]bool{
	skerry.ResourceACL: true, skerry.ResourceKeyring: true, skerry.ResourceMesh: true, skerry.ResourceOperator: true, skerry.ResourcePeering: true,
}

// number is the place of a resource in the tables of an Authorizer: a switch, since
// it stands on the way of every decision.
func number(r skerry.Resource) int {
	switch r {
	case skerry.ResourceACL:
		return 0
	case skerry.ResourceAgent:
		return 1
	case skerry.ResourceEvent:
		return 2
	case skerry.ResourceKey:
		return 3
	case skerry.ResourceKeyring:
		return 4
	case skerry.ResourceMesh:
		return 5
	case skerry.ResourceNode:
		return 6
	case skerry.ResourceOperator:
		return 7
	case skerry.ResourcePeering:
		return 8
	case skerry.ResourceQuery:
		return 9
	case skerry.ResourceService:
		return 10
	case skerry.ResourceSession:
		return 11
	}
	return -1
}

// DenyAll is the rules that deny everything.
var DenyAll = everything(skerry.AccessNone)
