package skerry

import "time"

// IDs that are fixed in Consul.
const (
	// AnonymousAccessor is the token of requests without one.
	AnonymousAccessor = "00000000-0000-0000-0000-000000000002"
	// AnonymousSecret is its secret, which everybody knows.
	AnonymousSecret = "anonymous"
	// GlobalManagement is the policy that allows everything.
	GlobalManagement = "00000000-0000-0000-0000-000000000001"
	// GlobalReadOnly is the policy that allows to read everything.
	GlobalReadOnly = "00000000-0000-0000-0000-000000000002"
)

// Token is a secret and the access that it grants.
type Token struct {
	Stamp       `json:"-"`
	Accessor    string `json:"accessor"` // its public ID
	Secret      string `json:"-"`        // empty where it cannot be shown
	Description string `json:"description,omitempty"`
	Grants
	Roles   []Link    `json:"roles,omitempty"`
	Local   bool      `json:"local,omitempty"`  // valid in this datacenter only
	Method  string    `json:"method,omitempty"` // the auth method that made it, at a login
	Hash    []byte    `json:"hash,omitempty"`   // of its grants
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Made    time.Time `json:"made"`
}

// SetStamp sets the indexes of a record.
func (s *Stamp) SetStamp(to Stamp) { *s = to }

// Expired reports whether the token is no longer valid.
func (t *Token) Expired(now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires)
}

// Grants are the grants that tokens and roles have in common.
type Grants struct {
	Policies  []Link            `json:"policies,omitempty"`
	Services  []ServiceIdentity `json:"services,omitempty"`
	Nodes     []NodeIdentity    `json:"nodes,omitempty"`
	Templates []TemplatedPolicy `json:"templates,omitempty"`
}

// Link names a policy or a role: by ID or name when it is written, by both when it is read.
type Link struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// ServiceIdentity grants the access that a service of that name needs.
type ServiceIdentity struct {
	Service     string   `json:"service"`
	Datacenters []string `json:"datacenters,omitempty"` // empty: all
}

// NodeIdentity grants the access that the agent of a node of that name needs.
type NodeIdentity struct {
	Node       string `json:"node"`
	Datacenter string `json:"datacenter"`
}

// TemplatedPolicy grants the rules of a built-in template, filled in with a name.
type TemplatedPolicy struct {
	Template    string   `json:"template"`
	Name        string   `json:"name,omitempty"`        // the template's variable
	Datacenters []string `json:"datacenters,omitempty"` // empty: all
}

// Template is a built-in template of rules.
type Template struct {
	Name        string
	Description string
	Schema      string // of its variables, in JSON Schema
	Text        string // with {{.Name}}
}

// Policy is a named set of rules.
type Policy struct {
	Stamp       `json:"-"`
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Rules       string   `json:"rules"`                 // HCL or JSON, as its writer wrote it
	Datacenters []string `json:"datacenters,omitempty"` // where it holds; empty: everywhere
	Hash        []byte   `json:"hash,omitempty"`
}

// Role is a named set of grants.
type Role struct {
	Stamp       `json:"-"`
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Grants
	Hash []byte `json:"hash,omitempty"`
}

// AuthMethod grants tokens to callers that another system has authenticated.
type AuthMethod struct {
	Stamp       `json:"-"`
	Name        string        `json:"name"`
	Type        string        `json:"type"` // "jwt" or "kubernetes"
	DisplayName string        `json:"display_name,omitempty"`
	Description string        `json:"description,omitempty"`
	MaxTTL      time.Duration `json:"max_ttl,omitempty"`  // of its tokens; 0: no end
	Locality    string        `json:"locality,omitempty"` // of its tokens: "local" (also when empty) or "global"
	// Config depends on Type. It may hold a credential of the other system.
	Config map[string]any `json:"config,omitempty"`
}

// BindingRule configures the grants of a login through a method.
type BindingRule struct {
	Stamp       `json:"-"`
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`
	Method      string `json:"method"`
	Selector    string `json:"selector,omitempty"` // filter on the verified claims; empty: all
	BindType    string `json:"bind_type"`          // "service", "node", "role", "policy" or "templated-policy"
	BindName    string `json:"bind_name"`          // may hold ${…}
	BindVar     string `json:"bind_var,omitempty"` // the name of a templated policy; may hold ${…}
}

// Act is one request for the audit log.
type Act struct {
	Time     time.Time `json:"time"`
	Accessor string    `json:"accessor,omitempty"` // of the caller; empty when the token is not known
	From     string    `json:"from"`               // the caller's address
	Method   string    `json:"method"`
	Path     string    `json:"path"` // without the query: it may hold a secret
	// PathBytes is the length of a path that is cut off in the log.
	PathBytes int    `json:"path_bytes,omitempty"`
	Status    int    `json:"status"`
	Reason    string `json:"reason,omitempty"` // why it was refused
}

// AuditLog notes requests, their callers and their results.
type AuditLog interface {
	// Wants reports whether a request with this method and answer is noted.
	Wants(method string, status int) bool
	// Note adds a request to the log.
	Note(Act)
}

// Replication describes the copy of the policies, roles and tokens of the primary datacenter.
type Replication struct {
	Source  string // the primary datacenter
	Running bool   // a server of this datacenter copies
	Tokens  bool   // tokens are copied too
	// The indexes of the last changes in the primary datacenter that the copy has; 0: there is none.
	PolicyIndex, RoleIndex, TokenIndex uint64
	Success                            time.Time // of the last round without an error; zero: there was none
	Failure                            time.Time // of the last round with one
	Reason                             string    // its error
}
