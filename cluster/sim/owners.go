package sim

import (
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// act lets time pass for an owner.
func (w *world) act(o *owner) {
	if o.crashed || w.now.Before(o.stalled) {
		return
	}
	switch {
	case o.in != nil:
		w.actInside(o)
		return
	case o.core == nil:
		w.actLease(o)
		return
	}
	o.core.Tick(w.now)
	w.flushOwner(o)
}

func (w *world) flushOwner(o *owner) {
	for _, e := range o.core.Ready() {
		m := e.Message
		if a, is := m.(cluster.Announce); is {
			if a.Attach {
				a.Set, a.Attach = setOf(a.Version), false
			}
			m = a
		}
		w.send(string(o.id), string(e.To), m)
	}
}

// actInside puts the set of an owner, or beats, at the server in whose process it lives.
func (w *world) actInside(o *owner) {
	if !o.in.up || o.in.paused || w.now.Before(o.retry) {
		return
	}
	var told cluster.Told
	if o.told != o.version {
		r := o.record(skerry.AgentOwner)
		if o.told != (skerry.Version{}) && !o.gone { // a change of the set that the server has
			r.Set, r.Delta, r.Base = nil, &skerry.Delta{}, o.told
		}
		told = o.in.core.PutLease(w.at(o.in), r)
	} else {
		told = o.in.core.BeatLease(w.at(o.in), o.id, digestOf(o.version))
		o.retry = w.now.Add(TTL / 3)
	}
	w.heard(o.id, o.in.id, !told.Want)
	w.toOwner(o, o.in.id, told)
}

// record is the whole set of an owner, or its withdrawal.
func (o *owner) record(kind skerry.OwnerKind) cluster.Record {
	r := cluster.Record{Owner: o.id, Kind: kind, TTL: TTL, Version: o.version, Digest: digestOf(o.version), Gone: o.gone}
	if !o.gone {
		r.Set = setOf(o.version)
	}
	return r
}

// actLease beats, or puts the set, at a server that the balancer chooses.
func (w *world) actLease(o *owner) {
	if o.gone && o.told == o.version || w.now.Before(o.retry) {
		return
	}
	to := string(w.servers[w.r.IntN(len(w.servers))].id)
	if o.told != o.version {
		o.retry = w.now.Add(500 * time.Millisecond)
		w.send(string(o.id), to, leasePut{cluster.Announce{Record: o.record(skerry.LeaseOwner)}})
		return
	}
	o.retry = w.now.Add(TTL / 3)
	w.send(string(o.id), to, leaseBeat{cluster.Beat{Owner: o.id, Digest: digestOf(o.version)}})
}

func (w *world) toOwner(o *owner, from cluster.ServerID, m cluster.Message) {
	if o.crashed {
		return
	}
	if o.core == nil {
		if t, is := m.(cluster.Told); is {
			switch {
			case t.Want:
				o.told = skerry.Version{}
				if o.version.Less(t.Version) {
					o.version = skerry.Version{Epoch: t.Version.Epoch + 1 + w.r.Uint64N(1000), Seq: 1}
				}
			case t.Version == o.version:
				o.told = o.version
			}
		}
		return
	}
	o.core.Step(w.now, from, m)
	o.version = o.core.Version()
	w.flushOwner(o)
}

// settled reports whether a server has told an owner that it has its present set.
func (o *owner) settled() bool {
	if o.core == nil {
		return o.told == o.version
	}
	return o.core.Settled()
}

// heard notes that an owner's sign of life came to a server.
func (w *world) heard(id skerry.OwnerID, at cluster.ServerID, has bool) {
	o := w.owner(string(id))
	o.oks = append(o.oks, ok{w.now, at, has, !w.server(string(at)).core.Minority()})
}
