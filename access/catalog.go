package access

import (
	"slices"
	"sync"

	"github.com/skerryhq/skerry"
)

// Catalog is a catalog as one identity sees it. It is for readers that have no
// token of their own to bring, such as DNS: who finds out at every read who that is.
type Catalog struct {
	skerry.Catalog
	who func() skerry.Identity

	mu    sync.Mutex
	views map[string]seen
}

// seen is what was left of a view for who had these rules.
type seen struct {
	of    *skerry.View
	rules string
	view  *skerry.View
}

// maxSeen bounds what is remembered: names come from outside.
const maxSeen = 10_000

// NewCatalog returns c as the identity sees it that who returns.
func NewCatalog(c skerry.Catalog, who func() skerry.Identity) *Catalog {
	return &Catalog{Catalog: c, who: who, views: map[string]seen{}}
}

// For returns the identity of a gate for what secret returns at that moment; who
// has a token that is not known sees what the anonymous one does.
func For(g skerry.Gate, secret func() string) func() skerry.Identity {
	return func() skerry.Identity {
		who, err := g.Identify(secret())
		if err != nil {
			who, err = g.Identify("")
		}
		if err != nil {
			return nobody{}
		}
		return who
	}
}

// nobody may do nothing.
type nobody struct{ everybody }

func (nobody) Allows(skerry.Resource, string, skerry.Access) bool      { return false }
func (nobody) AllowsBelow(skerry.Resource, string, skerry.Access) bool { return false }
func (nobody) Rule(skerry.Resource, string) string                     { return "no token could be identified" }

// Service implements [skerry.Catalog].
func (c *Catalog) Service(name string) *skerry.View {
	v, who := c.Catalog.Service(name), c.who()
	name = v.Service
	if len(v.Entries) == 0 {
		return v
	}
	key := ""
	if r, ok := who.(skerry.Ruled); ok {
		key = r.RulesKey()
		c.mu.Lock()
		s, ok := c.views[name]
		c.mu.Unlock()
		if ok && s.of == v && s.rules == key {
			return s.view
		}
	}
	left := filteredView(v, who)
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

func filteredView(v *skerry.View, who skerry.Identity) *skerry.View {
	sees := func(e *skerry.Entry) bool {
		return who.Allows(skerry.ResourceService, e.Instance.Service, skerry.AccessRead) &&
			who.Allows(skerry.ResourceNode, e.Node.Name, skerry.AccessRead)
	}
	if !slices.ContainsFunc(v.Entries, func(e *skerry.Entry) bool { return !sees(e) }) {
		return v
	}
	left := v.Part(sees)
	if len(left.Entries) == 0 {
		left.Cause = skerry.CauseUnknown // as for who asks for what is not there
	}
	return left
}

// Node implements [skerry.Catalog].
func (c *Catalog) Node(name string) *skerry.NodeView {
	v := c.Catalog.Node(name)
	if v == nil || !c.who().Allows(skerry.ResourceNode, v.Node.Name, skerry.AccessRead) {
		return nil
	}
	return v
}

// Nodes implements [skerry.Catalog].
func (c *Catalog) Nodes() []*skerry.NodeView {
	who := c.who()
	return slices.DeleteFunc(slices.Clone(c.Catalog.Nodes()), func(v *skerry.NodeView) bool {
		return !who.Allows(skerry.ResourceNode, v.Node.Name, skerry.AccessRead)
	})
}

// Services implements [skerry.Catalog].
func (c *Catalog) Services() []string {
	who := c.who()
	return slices.DeleteFunc(slices.Clone(c.Catalog.Services()), func(name string) bool {
		return !who.Allows(skerry.ResourceService, name, skerry.AccessRead)
	})
}

// Lookup implements [skerry.Catalog].
func (c *Catalog) Lookup(ip string) []skerry.Owned {
	who := c.who()
	return slices.DeleteFunc(slices.Clone(c.Catalog.Lookup(ip)), func(o skerry.Owned) bool {
		return !who.Allows(skerry.ResourceNode, o.Node.Name, skerry.AccessRead) ||
			o.Instance != nil && !who.Allows(skerry.ResourceService, o.Instance.Service, skerry.AccessRead)
	})
}
