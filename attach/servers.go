package attach

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry/cluster"
)

// Server is a server that an attachment knows.
type Server struct {
	Name, Address string
	Alive         bool // it is the present one, or introduced itself when it was asked last
}

// Servers returns the servers that are known, ordered by name.
func (a *Attachment) Servers() (out []Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range a.known() {
		out = append(out, Server{string(id), a.servers[id], id == a.told || !a.silent[a.servers[id]]})
	}
	return out
}

// Pick returns a server and its address: the one that the owner is attached to, if it is none of not.
func (a *Attachment) Pick(not ...string) (name, address string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.known()
	if a.told != "" {
		known = append([]cluster.ServerID{a.told}, known...)
	}
	for _, id := range known {
		if !slices.Contains(not, string(id)) && a.servers[id] != "" {
			return string(id), a.servers[id], true
		}
	}
	return "", "", false
}

func (a *Attachment) known() []cluster.ServerID { return slices.Sorted(maps.Keys(a.servers)) }

// learn asks for the name of the server at an address, again and again: it may start later.
func (a *Attachment) learn(ctx context.Context, address string) {
	told := ""
	for {
		name, err := a.cfg.Ask(ctx, address)
		pause := time.Second
		a.mu.Lock()
		a.silent[address] = err != nil
		a.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != told:
			told = err.Error()
			a.cfg.Log.Warn("a server of retry_join is not there yet", "address", address, "error", err)
		case err == nil:
			told, pause = "", max(a.cfg.RetryEvery, time.Second)
			a.met(cluster.ServerID(name), address)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// met notes the address of a server.
func (a *Attachment) met(name cluster.ServerID, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.servers[name] == address {
		return
	}
	a.servers[name] = address
	if a.core != nil {
		a.core.SetServers(a.known())
		a.awake()
	}
}

// failed lets a server rest that ended a stream, or took none. It must be called with mu held.
func (a *Attachment) failed(server cluster.ServerID, err error) {
	if a.resting.Failed(string(server), err) {
		a.cfg.Log.Warn("a server ended this agent's stream, or takes none", "server", server, "error", err)
	}
}
