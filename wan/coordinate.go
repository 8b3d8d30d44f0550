package wan

import (
	"time"

	"github.com/hashicorp/serf/coordinate"
)

// usable reports whether a coordinate can be compared with those of this process.
func usable(at *coordinate.Coordinate) bool {
	return at.IsValid() && len(at.Vec) == int(coordinate.DefaultConfig().Dimensionality)
}

// approach moves this server's coordinate towards the right distance from that of the sender.
func (d *Directory) approach(w Word, trip time.Duration) {
	if w.At == nil {
		return
	}
	if _, err := d.self.Update(w.From.Name+"."+w.From.Datacenter, w.At, trip); err != nil {
		d.cfg.Log.Debug("the coordinate of another server is not used", "server", w.From.Name, "datacenter", w.From.Datacenter, "error", err)
	}
}

// Coordinates returns the coordinates of the servers of all datacenters, this one among them, by the names of datacenters and servers.
func (d *Directory) Coordinates() map[string]map[string]*coordinate.Coordinate {
	own := map[string]*coordinate.Coordinate{d.cfg.Self.Name: d.self.GetCoordinate()}
	out := map[string]map[string]*coordinate.Coordinate{d.cfg.Self.Datacenter: own}
	present := d.cfg.Own()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range present {
		if at := d.peers[s.Name]; at != nil && s.Name != d.cfg.Self.Name {
			own[s.Name] = at
		}
	}
	for name, dc := range d.all {
		there := map[string]*coordinate.Coordinate{}
		for _, s := range dc.servers {
			if s.at != nil {
				there[s.Name] = s.at
			}
		}
		out[name] = there
	}
	return out
}

// Forget drops a server of another datacenter that does not answer. known is false if there is none of these names. It comes back
// when it answers a server again.
func (d *Directory) Forget(datacenter, name string) (known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dc := d.all[datacenter]
	if dc == nil || dc.servers[name] == nil {
		return false
	}
	if !dc.servers[name].up {
		delete(dc.servers, name)
	}
	if len(dc.servers) == 0 {
		delete(d.all, datacenter)
	}
	return true
}
