package cache

import "github.com/skerryhq/skerry"

// Catalog returns the catalog of an agent: the services that it follows, and beside them its own set.
func (c *Cache) Catalog() skerry.Catalog { return catalog{c.cfg.Own, c} }

type catalog struct {
	skerry.Catalog
	cache *Cache
}

// Service implements [skerry.Catalog].
func (c catalog) Service(name string) *skerry.View {
	if v := c.cache.Known(name); v != nil {
		return v
	}
	return c.Catalog.Service(name)
}

// Watch implements [skerry.Catalog].
func (c catalog) Watch(t skerry.Topic) (uint64, <-chan struct{}) { return c.cache.Watch(t) }
