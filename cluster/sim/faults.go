package sim

import (
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// fault lets something go wrong, or an owner change.
func (w *world) fault() {
	r := w.r
	a, b := w.servers[r.IntN(len(w.servers))], w.servers[r.IntN(len(w.servers))]
	o := w.owners[r.IntN(len(w.owners))]
	switch r.IntN(16) {
	case 0:
		w.cut[[2]string{string(a.id), string(b.id)}] = true
		w.tracef("cut %s > %s", a.id, b.id)
	case 1:
		w.cut[[2]string{string(a.id), string(b.id)}], w.cut[[2]string{string(b.id), string(a.id)}] = true, true
		w.tracef("cut %s <> %s", a.id, b.id)
	case 2, 3:
		w.split(a)
	case 4, 5:
		w.cut = map[[2]string]bool{}
		w.tracef("whole")
	case 6:
		if a.up {
			a.up = false
			w.tracef("kill %s", a.id)
		} else {
			w.tracef("start %s", a.id)
			w.start(a)
		}
	case 7:
		if a.paused = !a.paused; !a.paused {
			a.resumed = w.now
		}
		w.tracef("pause %s %v", a.id, a.paused)
	case 8, 9:
		w.change(o, skerry.Version{Epoch: o.version.Epoch, Seq: o.version.Seq + 1}, false)
	case 10:
		w.change(o, skerry.Version{Epoch: o.version.Epoch + 20, Seq: 1}, false)
	case 11:
		n := r.IntN(6)
		switch {
		case o.in != nil: // it ends with its server
		case n == 0:
			o.crashed = !o.gone
			w.tracef("%s crashes", o.id)
		case n == 1:
			w.change(o, skerry.Version{Epoch: o.version.Epoch, Seq: o.version.Seq + 1}, true)
		}
	case 12:
		if r.IntN(4) == 0 {
			w.restartAll()
		}
	case 13:
		w.restartOwner(o)
	case 14:
		o.stalled = w.now.Add(time.Duration(1+r.IntN(80)) * Step)
		w.tracef("%s stalls until %v", o.id, o.stalled.Sub(w.began))
	case 15:
		w.drop = []float64{0, 0.02, 0.2}[r.IntN(3)]
		w.tracef("drop %v", w.drop)
	}
}

func (w *world) change(o *owner, v skerry.Version, gone bool) {
	if o.gone || o.crashed {
		return
	}
	w.tracef("%s changes to %v, gone %v", o.id, v, gone)
	o.version, o.gone = v, gone
	if o.core != nil {
		o.core.Changed(v, digestOf(v), gone)
	}
}

// split puts one server apart, with half of the owners.
func (w *world) split(apart *server) {
	w.cut = map[[2]string]bool{}
	side := map[string]bool{string(apart.id): true}
	var all []string
	for _, s := range w.servers {
		all = append(all, string(s.id))
	}
	for _, o := range w.owners {
		side[string(o.id)] = w.r.IntN(2) == 0
		all = append(all, string(o.id))
	}
	for _, x := range all {
		for _, y := range all {
			if side[x] != side[y] {
				w.cut[[2]string{x, y}] = true
			}
		}
	}
	w.tracef("split %v", side)
}

// restartOwner starts an owner anew after its clock went back: its epoch is one that the
// servers know, or less.
func (w *world) restartOwner(o *owner) {
	if o.gone || o.crashed || o.in != nil {
		return
	}
	if o.epochs == nil {
		o.epochs = map[uint64]bool{}
	}
	o.epochs[o.version.Epoch] = true
	o.version = skerry.Version{Epoch: o.version.Epoch - 5, Seq: 1}
	for o.epochs[o.version.Epoch] {
		o.version.Epoch--
	}
	o.told, o.retry, o.oks = skerry.Version{}, w.now, nil
	if o.core != nil {
		o.core = w.newOwner(o)
	}
	w.tracef("%s restarts at %v", o.id, o.version)
}

func (w *world) newOwner(o *owner) *cluster.Owner {
	return cluster.NewOwner(cluster.OwnerConfig{ID: o.id, Kind: skerry.AgentOwner, TTL: TTL, Servers: w.ids(), Rand: w.r}, o.version, digestOf(o.version))
}
