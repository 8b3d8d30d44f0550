package wan

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
)

// Server is a server of a datacenter.
type Server struct {
	Name       string `json:"name"` // of the node; unique in its datacenter
	ID         string `json:"id,omitempty"`
	Datacenter string `json:"datacenter"`
	Address    string `json:"address"` // host:port of its ports.server
}

// Word is what a server tells one of another datacenter.
type Word struct {
	From Server `json:"from"`
	// Servers are all of its own datacenter, and those of others that answer it.
	Servers []Server `json:"servers"`
	// At is the coordinate of the sender among the servers of all datacenters; nil: it is of a release without.
	At *coordinate.Coordinate `json:"at,omitempty"`
}

const (
	// maxServers bounds the servers of a word, and maxDatacenters the other datacenters that are known.
	maxServers     = 1000
	maxDatacenters = 100
	maxName        = 255
)

// MaxWord is the size of the longest word, in bytes.
const MaxWord = 1 << 20

// check returns an error that names the field which is not valid.
func (w *Word) check() error {
	if len(w.Servers) > maxServers {
		return fmt.Errorf("servers: %d are more than %d", len(w.Servers), maxServers)
	}
	if w.At != nil && !usable(w.At) {
		return fmt.Errorf("at: want a coordinate of 8 finite numbers")
	}
	for _, s := range append([]Server{w.From}, w.Servers...) {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) check() error {
	host, port, err := net.SplitHostPort(s.Address)
	switch {
	case s.Name == "" || len(s.Name) > maxName || len(s.ID) > maxName:
		return fmt.Errorf("name %.20q: want 1 to %d bytes", s.Name, maxName)
	case !skerry.ValidDatacenter(s.Datacenter):
		return fmt.Errorf("datacenter %.20q of the server %q: want lower-case letters, digits, - and _", s.Datacenter, s.Name)
	case err != nil || host == "" || port == "" || len(s.Address) > 2*maxName:
		return fmt.Errorf("address %.20q of the server %q: want host:port", s.Address, s.Name)
	}
	return nil
}

// Hear takes what another server tells, and returns the answer.
func (d *Directory) Hear(w Word) (Word, error) {
	if err := w.check(); err != nil {
		return Word{}, err
	}
	d.learn(w)
	return d.word(), nil
}

// word is what this server tells others. Datacenters that it does not reach are left out, so that one that is gone is
// forgotten everywhere.
func (d *Directory) word() Word {
	w := Word{From: d.cfg.Self, Servers: d.cfg.Own(), At: d.self.GetCoordinate()}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.all)) {
		for _, s := range d.all[name].servers {
			if s.up {
				w.Servers = append(w.Servers, s.Server)
			}
		}
	}
	w.Servers = w.Servers[:min(len(w.Servers), maxServers)]
	return w
}

// learn takes the word of a server. On its own datacenter it has the last word; on others it adds the servers that are not known.
func (d *Directory) learn(w Word) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range w.Servers {
		if s.Datacenter != d.cfg.Self.Datacenter {
			d.add(s, s.Datacenter == w.From.Datacenter)
		}
	}
	if w.From.Datacenter == d.cfg.Self.Datacenter {
		if w.At != nil && (len(d.peers) < maxServers || d.peers[w.From.Name] != nil) {
			d.peers[w.From.Name] = w.At
		}
		return
	}
	dc := d.all[w.From.Datacenter]
	if dc == nil {
		return
	}
	if s := dc.servers[w.From.Name]; s != nil && w.At != nil {
		s.at = w.At
	}
	for name, s := range dc.servers {
		if !s.up && !slices.ContainsFunc(w.Servers, func(o Server) bool { return o.Datacenter == s.Datacenter && o.Name == name }) {
			delete(dc.servers, name)
		}
	}
	if len(dc.servers) == 0 {
		delete(d.all, w.From.Datacenter)
	}
}

// add adds a server. certain: it is of the datacenter of the server that told. It must be called with mu held.
func (d *Directory) add(s Server, certain bool) {
	dc := d.all[s.Datacenter]
	if dc == nil {
		if len(d.all) >= maxDatacenters {
			return
		}
		dc = &datacenter{servers: map[string]*server{}, since: time.Now()}
		d.all[s.Datacenter] = dc
		d.cfg.Log.Info("another datacenter is known", "datacenter", s.Datacenter)
	}
	was := dc.servers[s.Name]
	switch {
	case was == nil && len(dc.servers) >= maxServers, was != nil && (was.Server == s || was.up && !certain):
		return
	case was != nil && was.Address == s.Address:
		was.Server = s
		return
	}
	dc.servers[s.Name] = &server{Server: s}
	dc.survey = true
}
