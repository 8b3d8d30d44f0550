package skerry

import "time"

// IDs that Consul gave out for good.
const (
	// AnonymousAccessor is the token of who brings none.
	AnonymousAccessor = "00000000-0000-0000-0000-000000000002"
	// GlobalManagement is the policy that allows everything.
	GlobalManagement = "00000000-0000-0000-0000-000000000001"
	// GlobalReadOnly is the policy that allows to read everything.
	GlobalReadOnly = "00000000-0000-0000-0000-000000000002"
)

// Token is a secret and what its holder may do.
type Token struct {
	Stamp       `json:"-"`
	Accessor    string `json:"accessor"` // its public ID
	Secret      string `json:"-"`        // empty where it cannot be shown
	Description string `json:"description,omitempty"`
	Grants
	Roles   []Link    `json:"roles,omitempty"`
	Local   bool      `json:"local,omitempty"`  // valid in this datacenter only
	Method  string    `json:"method,omitempty"` // the auth method that made it, at a login
	Hash    []byte    `json:"hash,omitempty"`   // of what it grants
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Made    time.Time `json:"made"`
}

// SetStamp sets the indexes of what carries a [Stamp].
func (s *Stamp) SetStamp(to Stamp) { *s = to }

// Expired reports whether the token is no longer valid.
func (t *Token) Expired(now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires)
}

// Grants are what tokens and roles give in the same way.
type Grants struct {
	Policies  []Link            `json:"policies,omitempty"`
	Services  []ServiceIdentity `json:"services,omitempty"`
	Nodes     []NodeIdentity    `json:"nodes,omitempty"`
	Templates []TemplatedPolicy `json:"templates,omitempty"`
}

// Link names a policy or a role: by either when it is written, by both when it is read.
type Link struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// ServiceIdentity grants what a service of that name needs.
type ServiceIdentity struct {
	Service     string   `json:"service"`
	Datacenters []string `json:"datacenters,omitempty"` // empty: all
}

// NodeIdentity grants what the agent of a node of that name needs.
type NodeIdentity struct {
	Node       string `json:"node"`
	Datacenter string `json:"datacenter"`
}

// TemplatedPolicy grants the rules of a built-in template, made out for a name.
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

// AuthMethod is a way to get a token for somebody whom another system vouches for.
type AuthMethod struct {
	Stamp       `json:"-"`
	Name        string        `json:"name"`
	Type        string        `json:"type"` // "jwt" or "kubernetes"
	DisplayName string        `json:"display_name,omitempty"`
	Description string        `json:"description,omitempty"`
	MaxTTL      time.Duration `json:"max_ttl,omitempty"`  // of its tokens; 0: no end
	Locality    string        `json:"locality,omitempty"` // of its tokens: "local" (also when empty) or "global"
	// Config is of its type. It may hold a credential of the other system.
	Config map[string]any `json:"config,omitempty"`
}

// BindingRule says what a login through a method grants.
type BindingRule struct {
	Stamp       `json:"-"`
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`
	Method      string `json:"method"`
	Selector    string `json:"selector,omitempty"` // on what the method verified; empty: everybody
	BindType    string `json:"bind_type"`          // "service", "node", "role", "policy" or "templated-policy"
	BindName    string `json:"bind_name"`          // may hold ${…}
	BindVar     string `json:"bind_var,omitempty"` // the name of a templated policy; may hold ${…}
}

// Act is one request for the audit log.
type Act struct {
	Time     time.Time `json:"time"`
	Accessor string    `json:"accessor,omitempty"` // who; empty when the token is not known
	From     string    `json:"from"`               // the caller's address
	Method   string    `json:"method"`
	Path     string    `json:"path"` // without the query: it may hold a secret
	// PathBytes is the length of a path of which only the beginning is noted.
	PathBytes int    `json:"path_bytes,omitempty"`
	Status    int    `json:"status"`
	Reason    string `json:"reason,omitempty"` // why it was refused
}
