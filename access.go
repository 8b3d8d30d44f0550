package skerry

import "time"

// Resource is a kind of thing that access is granted to. The words are those of
// Consul's rules.
type Resource string

const (
	ResourceACL      Resource = "acl"
	ResourceAgent    Resource = "agent"
	ResourceEvent    Resource = "event"
	ResourceKey      Resource = "key"
	ResourceKeyring  Resource = "keyring"
	ResourceMesh     Resource = "mesh"
	ResourceNode     Resource = "node"
	ResourceOperator Resource = "operator"
	ResourcePeering  Resource = "peering"
	ResourceQuery    Resource = "query"
	ResourceService  Resource = "service"
	ResourceSession  Resource = "session"
)

// Access is what somebody wants to do with a thing, or may do at most. Each
// includes those before it.
type Access uint8

const (
	AccessNone Access = iota
	AccessRead
	AccessList // keys: read all that begin with a prefix at once
	AccessWrite
)

func (a Access) String() string {
	return [...]string{"deny", "read", "list", "write"}[a]
}

// Identity is who asks: a token's holder, or who came without one. All methods
// may be called from many goroutines; none blocks.
type Identity interface {
	// Accessor is the public ID of the token.
	Accessor() string
	// Anonymous reports whether the request came without a token.
	Anonymous() bool
	// Allows reports whether the holder may do so with the thing of that name.
	// Resources without names (acl, keyring, mesh, operator, peering) take "".
	Allows(r Resource, name string, a Access) bool
	// AllowsBelow is Allows for everything whose name begins with prefix, there now or later.
	AllowsBelow(r Resource, prefix string, a Access) bool
	// Rule says which rule Allows decided by, for people: the policy's name and
	// the rule in it, or the default.
	Rule(r Resource, name string) string
}

// Ruled is an identity that can say by what rules it goes: those with the same key
// may do the same, so that what is worked out for one serves the others.
type Ruled interface {
	Identity
	RulesKey() string
	// Expires is when the token ends; zero: never.
	Expires() time.Time
}

// Gate tells who stands behind a token.
type Gate interface {
	// Enabled reports whether access is controlled at all. Without it everybody
	// may do everything.
	Enabled() bool
	// Default is the access of who has no rule that speaks of a thing: none or write.
	Default() Access
	// Hides reports whether what the asker may not see is answered for as if it were
	// not there: in indexes, wake-ups, refusals and lists. Without it, answers tell of
	// such things as Consul's do.
	Hides() bool
	// Changed returns a channel that is closed at the next change of a token, policy
	// or role. Nil: there is none.
	Changed() <-chan struct{}
	// Identify returns the holder of the secret; an empty one is the anonymous
	// token. An error of kind [Denied] says that the secret is not known or has expired.
	Identify(secret string) (Identity, error)
}

// DeniedTo is the error of who may not do something: it names the token, the
// access and the thing, never the secret. The wording is Consul's.
func DeniedTo(who Identity, r Resource, name string, a Access) *Error {
	holder, hint := "token with AccessorID '"+who.Accessor()+"'", ""
	if who.Anonymous() {
		holder = "anonymous token"
		hint = ". The anonymous token is used implicitly when a request does not specify a token."
	}
	thing := ""
	if name != "" {
		thing = " on \"" + name + "\""
	}
	return &Error{
		Kind: Denied, Subject: string(r), ID: name,
		Message: "Permission denied: " + holder + " lacks permission '" + string(r) + ":" + a.String() + "'" + thing + hint,
	}
}
