package access

import (
	"slices"
	"sync"

	"github.com/skerryhq/skerry"
)

// Catalog is a catalog as one identity sees it. It is for readers without a token of
// their own, such as DNS: every read calls identity.
type Catalog struct {
	skerry.Catalog
	identity func() skerry.Identity

	mu    sync.Mutex
	views map[string]seen
}

// seen is a view as holders of these rules see it.
type seen struct {
	of    *skerry.View
	rules string
	view  *skerry.View
}

// maxSeen bounds the views that are kept: names come from outside.
const maxSeen = 10_000

// NewCatalog returns c as the result of identity sees it.
func NewCatalog(c skerry.Catalog, identity func() skerry.Identity) *Catalog {
	return &Catalog{Catalog: c, identity: identity, views: map[string]seen{}}
}

// For returns a function that resolves the present result of secret to an identity. An
// unknown token counts as the anonymous one.
func For(g skerry.Gate, secret func() string) func() skerry.Identity {
	return func() skerry.Identity {
		caller, err := g.Identify(secret())
		if err != nil {
			caller, err = g.Identify("")
		}
		if err != nil {
			return none{}
		}
		return caller
	}
}

// none has no permission.
type none struct{}

func (none) Accessor() string { return skerry.AnonymousAccessor }
func (none) Anonymous() bool  { return true }

func (none) Allows(skerry.Resource, string, skerry.Access) bool      { return false }
func (none) AllowsBelow(skerry.Resource, string, skerry.Access) bool { return false }
func (none) Rule(skerry.Resource, string) string                     { return "no token could be identified" }

// Service implements [skerry.Catalog].
func (c *Catalog) Service(name string) *skerry.View {
	v, caller := c.Catalog.Service(name), c.identity()
	name = v.Service
	if len(v.Entries) == 0 {
		return v
	}
	key := ""
	if r, ok := caller.(skerry.Ruled); ok {
		key = r.RulesKey()
		c.mu.Lock()
		s, ok := c.views[name]
		c.mu.Unlock()
		if ok && s.of == v && s.rules == key {
			return s.view
		}
	}
	left := filteredView(v, caller)
	if key != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.views) >= maxSeen {
			clear(c.views)
		}
		c.views[name] = seen{v, key, left}
	}
	return left
}

func filteredView(v *skerry.View, caller skerry.Identity) *skerry.View {
	sees := func(e *skerry.Entry) bool {
		return caller.Allows(skerry.ResourceService, e.Instance.Service, skerry.AccessRead) &&
			caller.Allows(skerry.ResourceNode, e.Node.Name, skerry.AccessRead)
	}
	if !slices.ContainsFunc(v.Entries, func(e *skerry.Entry) bool { return !sees(e) }) {
		return v
	}
	left := v.Part(sees)
	if len(left.Entries) == 0 {
		left.Cause = skerry.CauseUnknown // as for services that do not exist
	}
	return left
}

// Node implements [skerry.Catalog].
func (c *Catalog) Node(name string) *skerry.NodeView {
	v := c.Catalog.Node(name)
	if v == nil || !c.identity().Allows(skerry.ResourceNode, v.Node.Name, skerry.AccessRead) {
		return nil
	}
	return v
}

// Nodes implements [skerry.Catalog].
func (c *Catalog) Nodes() []*skerry.NodeView {
	caller := c.identity()
	return slices.DeleteFunc(slices.Clone(c.Catalog.Nodes()), func(v *skerry.NodeView) bool {
		return !caller.Allows(skerry.ResourceNode, v.Node.Name, skerry.AccessRead)
	})
}

// Services implements [skerry.Catalog].
func (c *Catalog) Services() []string {
	caller := c.identity()
	return slices.DeleteFunc(slices.Clone(c.Catalog.Services()), func(name string) bool {
		return !caller.Allows(skerry.ResourceService, name, skerry.AccessRead)
	})
}

// Lookup implements [skerry.Catalog].
func (c *Catalog) Lookup(ip string) []skerry.Owned {
	caller := c.identity()
	return slices.DeleteFunc(slices.Clone(c.Catalog.Lookup(ip)), func(o skerry.Owned) bool {
		return !caller.Allows(skerry.ResourceNode, o.Node.Name, skerry.AccessRead) ||
			o.Instance != nil && !caller.Allows(skerry.ResourceService, o.Instance.Service, skerry.AccessRead)
	})
}
