package catalog

import (
	"net/netip"
	"slices"

	"github.com/skerryhq/skerry"
)

// addressBook maps addresses to their holders. It is built on demand and kept until
// the next change: reverse look-ups are rarer than registrations.
type addressBook struct {
	index  uint64
	owners map[netip.Addr][]skerry.Owned
}

// Lookup implements [skerry.Catalog].
func (t *Table) Lookup(ip string) []skerry.Owned {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	book := t.addresses.Load()
	if book == nil || book.index != t.index {
		book = t.makeAddressBook()
		t.addresses.Store(book)
	}
	return book.owners[addr.Unmap()]
}

func (t *Table) makeAddressBook() *addressBook {
	book := &addressBook{index: t.index, owners: map[netip.Addr][]skerry.Owned{}}
	add := func(ip string, o skerry.Owned) {
		if addr, err := netip.ParseAddr(ip); err == nil {
			book.owners[addr.Unmap()] = append(book.owners[addr.Unmap()], o)
		}
	}
	for _, n := range t.nodes {
		rec := n.record()
		add(rec.Address, skerry.Owned{Node: rec})
		for _, v := range rec.TaggedAddresses {
			add(v, skerry.Owned{Node: rec})
		}
	}
	for _, s := range t.services {
		for _, it := range s.items {
			if it.instance.Address != "" {
				add(it.instance.Address, skerry.Owned{Node: it.owner.at.record(), Instance: it.instance})
			}
		}
	}
	for addr, held := range book.owners {
		slices.SortFunc(held, compareOwned)
		book.owners[addr] = slices.Compact(held) // several tagged addresses may be one
	}
	return book
}

// compareOwned orders by node name; the node itself comes before its instances.
func compareOwned(a, b skerry.Owned) int {
	if c := skerry.CompareNames(a.Node.Name, b.Node.Name); c != 0 {
		return c
	}
	return skerry.CompareNames(instanceID(a), instanceID(b))
}

func instanceID(o skerry.Owned) string {
	if o.Instance == nil {
		return ""
	}
	return o.Instance.ID
}
