package client

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// Group is the clients of a program, by names, for metrics and the debug page. The zero
// value is empty; it is safe for concurrent use.
type Group struct {
	mu      sync.Mutex
	clients []member
}

type member struct {
	name string
	c    *Client
}

// GroupOf returns a group of one client.
func GroupOf(name string, c *Client) *Group {
	g := &Group{}
	g.Add(name, c)
	return g
}

// Add adds a client, until remove is called. If there is one of this name, it gets a
// number with it.
func (g *Group) Add(name string, c *Client) (remove func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := func(n member) bool { return n.name == name }
	for plain, n := name, 2; slices.ContainsFunc(g.clients, taken); n++ {
		name = fmt.Sprintf("%s-%d", plain, n)
	}
	g.clients = append(g.clients, member{name, c})
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.clients = slices.DeleteFunc(g.clients, func(n member) bool { return n.c == c })
	}
}

// Member is a client of a group, explained.
type Member struct {
	Name string `json:"name"`
	Explanation
}

// Explain explains all clients, in the order of their names.
func (g *Group) Explain() []Member {
	g.mu.Lock()
	clients := slices.Clone(g.clients)
	g.mu.Unlock()
	var all []Member
	for _, n := range clients {
		all = append(all, Member{n.name, n.c.Explain()})
	}
	slices.SortStableFunc(all, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
