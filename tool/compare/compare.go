// Package compare finds differences between the catalogs that two servers answer.
package compare

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Kind is a kind of things in a catalog.
type Kind string

// The kinds, in the order of reports.
const (
	Node     Kind = "node"
	Service  Kind = "service"
	Instance Kind = "instance"
	Check    Kind = "check"
)

var kinds = []Kind{Node, Service, Instance, Check}

// Key names a thing.
type Key struct {
	Kind Kind
	ID   string // of instances and checks after their node's name and a slash
}

// Catalog is all that a server answers, field by field.
type Catalog map[Key]map[string]string

// Read reads the catalog of a server, which must not ask another one for it.
func Read(ctx context.Context, c *api.Client, q api.QueryOptions) (Catalog, error) {
	q.AllowStale = true
	r := reader{c.Raw(), q.WithContext(ctx), Catalog{}}
	var services map[string][]string
	if err := r.get("/v1/catalog/services", &services); err != nil {
		return nil, err
	}
	if err := r.list("/v1/catalog/nodes", Node, "Node"); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		r.add(Key{Service, name}, map[string]any{"Tags": services[name]})
		if err := r.list("/v1/catalog/service/"+name, Instance, "Node", "ServiceID"); err != nil {
			return nil, err
		}
	}
	return r.into, r.list("/v1/health/state/any", Check, "Node", "CheckID")
}

type reader struct {
	raw  *api.Raw
	q    *api.QueryOptions
	into Catalog
}

func (r *reader) get(path string, into any) error {
	if _, err := r.raw.Query(path, into, r.q); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// list adds the things in an answer, which are named by some of their fields.
func (r *reader) list(path string, kind Kind, names ...string) error {
	var all []map[string]any
	if err := r.get(path, &all); err != nil {
		return err
	}
	for _, one := range all {
		var id []string
		for _, name := range names {
			id = append(id, fmt.Sprint(one[name]))
		}
		r.add(Key{kind, strings.Join(id, "/")}, one)
	}
	return nil
}

// add adds a thing. Indexes are each server's own.
func (r *reader) add(key Key, fields map[string]any) {
	out := map[string]string{}
	for name, value := range fields {
		if strings.HasSuffix(name, "CreateIndex") || strings.HasSuffix(name, "ModifyIndex") {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			text = []byte(fmt.Sprint(value))
		}
		out[name] = string(text)
	}
	r.into[key] = out
}

// Counts returns how many things of each kind there are, as "nodes: 2, services: 1, …".
func (c Catalog) Counts() string {
	n := map[Kind]int{}
	for key := range c {
		n[key.Kind]++
	}
	var out []string
	for _, kind := range kinds {
		out = append(out, fmt.Sprintf("%ss: %d", kind, n[kind]))
	}
	return strings.Join(out, ", ")
}

// Difference is a thing that two catalogs do not have alike.
type Difference struct {
	Key
	Only  int    // 1 or 2: only this catalog has it; 0: both have it
	Field string // that differs, with its values in JSON; "" if one lacks it
	Value [2]string
}

// Differences returns how two catalogs differ, by kind, id and field.
func Differences(a, b Catalog) (out []Difference) {
	for key, one := range a {
		other, there := b[key]
		if !there {
			out = append(out, Difference{Key: key, Only: 1})
			continue
		}
		fields := maps.Clone(one)
		maps.Copy(fields, other)
		for field := range fields {
			if one[field] != other[field] {
				out = append(out, Difference{key, 0, field, [2]string{one[field], other[field]}})
			}
		}
	}
	for key := range b {
		if _, there := a[key]; !there {
			out = append(out, Difference{Key: key, Only: 2})
		}
	}
	slices.SortFunc(out, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, x.Kind), slices.Index(kinds, y.Kind)), cmp.Compare(x.ID, y.ID), cmp.Compare(x.Field, y.Field))
	})
	return out
}
