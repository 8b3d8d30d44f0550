package skerry

import "time"

// Resource is a kind of object that access is granted to. The words are those of
// Consul's rules.
type Resource string

const (
	ResourceACL      Resource = "acl"      // tokens, policies, roles, auth methods, binding rules
	ResourceAgent    Resource = "agent"    // the agent's own API, by node name
	ResourceEvent    Resource = "event"    // user events, by event name
	ResourceKey      Resource = "key"      // the key/value store, by key
	ResourceKeyring  Resource = "keyring"  // gossip encryption keys
	ResourceMesh     Resource = "mesh"     // configuration entries of the mesh
	ResourceNode     Resource = "node"     // nodes of the catalog, by node name
	ResourceOperator Resource = "operator" // the operator API
	ResourcePeering  Resource = "peering"  // cluster peerings
	ResourceQuery    Resource = "query"    // prepared queries, by query name
	ResourceService  Resource = "service"  // services of the catalog, by service name
	ResourceSession  Resource = "session"  // sessions, by node name
)

// Access is a level of access to an object. Each level includes those before it.
type Access uint8

const (
	AccessNone  Access = iota // no access
	AccessRead                // read one object
	AccessList                // keys: read all that begin with a prefix at once
	AccessWrite               // read, list and change
)

// String returns the level as Consul's rules spell it.
func (a Access) String() string {
	return [...]string{"deny", "read", "list", "write"}[a]
}

// Identity is the caller of a request: the holder of a token, or an anonymous
// caller. All methods may be called from many goroutines; none blocks.
type Identity interface {
	// Accessor is the public ID of the token.
	Accessor() string
	// Anonymous reports whether the request came without a token.
	Anonymous() bool
	// Allows reports whether the holder has access a to the object of that name.
	// Resources without names (acl, keyring, mesh, operator, peering) take "".
	Allows(r Resource, name string, a Access) bool
	// AllowsBelow is Allows for all names that begin with prefix, present or future.
	AllowsBelow(r Resource, prefix string, a Access) bool
	// Rule describes the rule that decides Allows, for people: the policy's name
	// and the rule in it, or the default.
	Rule(r Resource, name string) string
}

// Ruled is an identity with a key of its rules.
type Ruled interface {
	Identity
	// RulesKey returns a key of the identity's rules. Identities with the same key
	// have the same access, so results for one can be reused for the others.
	RulesKey() string
	// Expires is when the token ends; zero: never.
	Expires() time.Time
}

// Gate resolves a token to an identity.
type Gate interface {
	// Default is the access to objects that no rule of the caller covers: none or write.
	Default() Access
	// Hides reports whether objects that the caller may not see are treated as if
	// they did not exist: in indexes, wake-ups, refusals and lists. If not, answers
	// reveal such objects as Consul's do.
	Hides() bool
	// Changed returns a channel that is closed at the next change of a token, policy
	// or role. Nil: there is none.
	Changed() <-chan struct{}
	// Identify returns the holder of the secret; an empty one is the anonymous
	// token. It returns an error of kind [Denied] if the secret is unknown or expired.
	Identify(secret string) (Identity, error)
}

// DeniedTo returns the error for a refused access. It names the token, the access
// and the object, never the secret. The wording is Consul's.
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
