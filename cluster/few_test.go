package cluster_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

var begin = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// few are some servers whose messages arrive at once, but for those between servers that are
// cut, which are lost, and records that wait.
type few struct {
	t       *testing.T
	now     time.Time
	servers map[cluster.ServerID]*cluster.Server
	cut     map[[2]cluster.ServerID]bool
	waits   map[[2]cluster.ServerID]bool
	waiting []letter
	hidden  map[cluster.ServerID]bool // the servers that took an owner out
	refused []cluster.Refused
}

type letter struct {
	from, to cluster.ServerID
	m        cluster.Message
}

type maker = func(cluster.Config, time.Time) *cluster.Server

func newFew(t *testing.T, make maker, members ...cluster.ServerID) *few {
	f := &few{
		t: t, now: begin, servers: map[cluster.ServerID]*cluster.Server{}, cut: map[[2]cluster.ServerID]bool{},
		waits: map[[2]cluster.ServerID]bool{}, hidden: map[cluster.ServerID]bool{},
	}
	for _, id := range members {
		f.start(make, id, members...)
	}
	f.pass(8 * time.Second)
	return f
}

func (f *few) start(make maker, id cluster.ServerID, members ...cluster.ServerID) {
	f.servers[id] = make(cluster.Config{Self: id, Life: cluster.Life(f.now.UnixMilli()), Members: members, Rand: rand.New(rand.NewPCG(1, 1))}, f.now)
}

// part cuts the servers on one side from all others.
func (f *few) part(side ...cluster.ServerID) {
	clear(f.cut)
	for a := range f.servers {
		for b := range f.servers {
			if slices.Contains(side, a) != slices.Contains(side, b) {
				f.cut[[2]cluster.ServerID{a, b}] = true
			}
		}
	}
}

// pass lets time pass, with what happens in each step of it.
func (f *few) pass(d time.Duration, each ...func()) {
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(100 * time.Millisecond)
		for _, do := range each {
			do()
		}
		for _, id := range f.ids() {
			f.servers[id].Tick(f.now)
		}
		for f.deliver() {
		}
	}
}

func (f *few) ids() (ids []cluster.ServerID) {
	for id := range f.servers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// deliver moves all messages by a hop, and reports whether there were any.
func (f *few) deliver() bool {
	var post []letter
	for _, from := range f.ids() {
		r := f.servers[from].Ready()
		f.refused = append(f.refused, r.Refused...)
		for _, c := range r.Changes {
			if !c.Show {
				f.hidden[from] = true
			}
		}
		for _, e := range r.Send {
			for _, to := range f.ids() {
				if to != from && (e.To == "" || e.To == to) {
					post = append(post, letter{from, to, filled(e.Message)})
				}
			}
		}
	}
	post, f.waiting = append(f.waiting, post...), nil
	moved := false
	for _, l := range post {
		switch way := [2]cluster.ServerID{l.from, l.to}; {
		case f.cut[way]:
		case f.waits[way] && hasRecords(l.m):
			f.waiting = append(f.waiting, l)
		default:
			f.servers[l.to].Step(f.now, l.from, l.m)
			moved = true
		}
	}
	return moved
}

func hasRecords(m cluster.Message) bool {
	switch m.(type) {
	case cluster.Log, cluster.Fetched:
		return true
	}
	return false
}

// filled puts the sets in that a message asks for.
func filled(m cluster.Message) cluster.Message {
	fill := func(records []cluster.Record) []cluster.Record {
		records = slices.Clone(records)
		for i := range records {
			if records[i].Attach {
				records[i].Set, records[i].Attach = aSet, false
			}
		}
		return records
	}
	switch m := m.(type) {
	case cluster.Fetched:
		m.Records = fill(m.Records)
		return m
	case cluster.Log:
		m.Records = fill(m.Records)
		return m
	}
	return m
}

var (
	aSet = &skerry.Set{Node: &skerry.Node{Name: "n"}}
	v1   = skerry.Version{Epoch: 1, Seq: 1}
)

// attach attaches an owner to a server and announces its set.
func (f *few) attach(to cluster.ServerID, id skerry.OwnerID, n uint64) {
	s := f.servers[to]
	got := s.Attach(f.now, cluster.Attach{Owner: id, Kind: skerry.AgentOwner, TTL: 6 * time.Second, Version: v1, Digest: 1, Attach: n})
	if !got.OK {
		f.t.Errorf("%s does not take the attachment %d of %s: %+v", to, n, id, got)
	}
	if got.Want {
		s.Announce(f.now, cluster.Announce{Record: cluster.Record{Owner: id, Kind: skerry.AgentOwner, TTL: 6 * time.Second, Version: v1, Digest: 1, Set: aSet}})
	}
}

func (f *few) beat(at cluster.ServerID, id skerry.OwnerID, n uint64) {
	f.servers[at].Beat(f.now, cluster.Beat{Owner: id, Epoch: 1, Attach: n, Digest: 1})
}

func lease(id skerry.OwnerID) cluster.Record {
	return cluster.Record{Owner: id, Kind: skerry.LeaseOwner, TTL: 6 * time.Second, Version: v1, Digest: 1, Set: aSet}
}

func (f *few) shows(at cluster.ServerID, id skerry.OwnerID) bool {
	_, shown := f.servers[at].Shows(id)
	return shown
}
