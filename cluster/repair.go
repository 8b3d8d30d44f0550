package cluster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// buckets is the number of parts into which owners fall for comparisons.
const buckets = 4096

// repairWithin is how long a repair may come to a halt before it is begun anew.
const repairWithin = time.Second

// ringSize is the number of records that a server keeps of its log.
const ringSize = 1 << 16

// ring is the end of a server's own log.
type ring struct {
	life    Life
	seq     uint64 // of the last record
	records []Record
}

func (r *ring) head() Pos { return Pos{r.life, r.seq} }

// add counts a record, and keeps it for the servers that may lack it later: without any, none is kept.
func (r *ring) add(record Record, keep bool) Pos {
	r.seq++
	if !keep {
		r.records = nil
		return r.head()
	}
	if len(r.records) == ringSize {
		r.records = slices.Delete(r.records, 0, ringSize/4)
	}
	r.records = append(r.records, record)
	return r.head()
}

// after returns the records after a position; ok is false if they are not kept.
func (r *ring) after(p Pos) (records []Record, ok bool) {
	if p.Life != r.life || p.Seq > r.seq || r.seq-p.Seq > uint64(len(r.records)) {
		return nil, false
	}
	return r.records[uint64(len(r.records))-(r.seq-p.Seq):], true
}

// ask asks a peer for its log after a position, or for all that it knows; at most once for
// each tick.
func (s *Server) ask(id ServerID, after Pos) {
	p := s.peers[id]
	if s.now.Sub(p.asked) < s.t.Tick && !p.asked.IsZero() || after == (Pos{}) && s.copying(p) {
		return
	}
	p.asked = s.now
	s.send(id, Ask{after})
}

func (s *Server) answer(to ServerID, m Ask) {
	if records, ok := s.ring.after(m.After); ok && m.After != (Pos{}) {
		if records, ok = s.updated(records); ok {
			s.send(to, Log{Pos{s.ring.life, m.After.Seq + 1}, records})
			return
		}
	}
	s.send(to, Sums{slices.Clone(s.sums[:]), s.seen(), !s.whole, !s.doubting.IsZero()})
}

// updated returns records of the log with the end of the owners that ended by another server's log: to one that
// was away for long the record would say that the owner lives. ok is false if one names an owner that was
// forgotten since, or that this server doubts.
func (s *Server) updated(records []Record) (out []Record, ok bool) {
	out = slices.Clone(records)
	for i := range out {
		o := s.owners[out[i].Owner]
		if o == nil || o.doubt {
			return nil, false
		}
		if o.dead() && !out[i].dead() {
			out[i] = o.Record
		}
	}
	return out, true
}

func (s *Server) takeLog(from ServerID, p *peer, m Log) {
	var holes []skerry.OwnerID
	s.taken(from, m.Records)
	for _, r := range m.Records {
		s.merge(r)
		if o := s.owners[r.Owner]; o != nil && (o.hole() || o.Version.Less(r.Version)) {
			holes = append(holes, r.Owner)
		}
	}
	if len(holes) > 0 && !s.off.repair {
		s.send(from, Fetch{Owners: holes})
	}
	last := Pos{m.First.Life, m.First.Seq + uint64(len(m.Records)) - 1}
	switch {
	case p.pos.Life == m.First.Life && m.First.Seq <= p.pos.Seq+1:
		if p.pos.before(last) {
			p.pos = last
		}
	case !s.off.repair:
		s.ask(from, p.pos)
	}
}

// taken notes that another server names itself as the home of owners that have another home: it
// took their own word, and did not know of that one. At their home that counts as a beat.
func (s *Server) taken(from ServerID, records []Record) {
	for i := range records {
		r := &records[i]
		o := s.owners[r.Owner]
		if o == nil || o.Stand.State != Live || r.Stand.Home != from || r.Stand.State != Live || !r.Stand.Less(o.Stand) {
			continue
		}
		o.claimed = s.now
		if o.Stand.Home == s.cfg.Self {
			o.beat = s.living
		}
	}
}

// fillHoles asks for the sets of owners that live and whose sets are not here: the homes,
// and all peers in turn for those of this server.
func (s *Server) fillHoles() {
	if s.off.repair || len(s.holes) == 0 {
		return
	}
	up := s.upPeers()
	if len(up) == 0 {
		return
	}
	s.turn++
	next := up[s.turn%len(up)]
	holes := map[ServerID][]skerry.OwnerID{}
	for o := range s.holes {
		switch home := o.Stand.Home; {
		case home == s.cfg.Self:
			holes[next] = append(holes[next], o.Owner)
		case s.up(home):
			holes[home] = append(holes[home], o.Owner)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(holes)) {
		slices.Sort(holes[to])
		s.send(to, Fetch{Owners: holes[to]})
	}
}

// takeSums begins a repair, unless one is under way.
func (s *Server) takeSums(from ServerID, p *peer, m Sums) {
	if s.copying(p) {
		return
	}
	s.repairs++
	p.repair, p.sums, p.part, p.doubts, p.partial, p.moved = s.repairs, m.Seen, 0, m.Doubts, m.Partial, s.now
	var differ []int
	for i := range min(len(m.Buckets), buckets) {
		if m.Buckets[i] != s.sums[i] {
			differ = append(differ, i)
		}
	}
	p.large = len(differ) >= large
	if len(differ) == 0 {
		s.adopt(p)
		return
	}
	s.send(from, Want{differ, p.repair})
}

func (s *Server) inBuckets(which []int) []Record {
	var out []Record
	for _, n := range which {
		if n < 0 || n >= buckets {
			continue
		}
		for _, o := range s.inBucket[n] {
			if !o.doubt {
				out = append(out, o.Record)
			}
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.Owner, b.Owner) })
	return out
}

func (s *Server) takeOwned(from ServerID, p *peer, m Owned) {
	s.taken(from, m.Records)
	var fetch []skerry.OwnerID
	for _, r := range m.Records {
		if s.lacks(&r) {
			fetch = append(fetch, r.Owner)
		}
	}
	s.progress(p, m.Repair)
	switch {
	case len(fetch) > 0:
		s.send(from, Fetch{fetch, m.Repair})
	case m.Repair == p.repair:
		s.adopt(p)
	}
}

// lacks reports whether a peer's record has something that this server has not.
func (s *Server) lacks(r *Record) bool {
	o := s.owners[r.Owner]
	switch {
	case o == nil:
		return !s.past(r.Ended)
	case o.doubt, o.Version.Less(r.Version), o.Stand.Less(r.Stand):
		return true
	}
	return o.Version == r.Version && !o.has && !o.Gone || o.sameAs(r) && o.Ended < r.Ended
}

// progress notes that a repair goes on.
func (s *Server) progress(p *peer, repair uint64) {
	if repair == p.repair {
		p.moved = s.now
	}
}

// repairing reports whether a repair from a peer is under way.
func (s *Server) repairing(p *peer) bool { return p.repair != 0 && s.now.Sub(p.moved) < repairWithin }

// large is the number of buckets that differ from which on a repair is large.
const large = 64

// copying reports whether a repair from a peer has to wait for one that is under way. A server that
// knows little copies from one peer at a time: all would send it the same. After a while it no
// longer relies on that one, whose link may be slow.
func (s *Server) copying(p *peer) bool {
	if s.repairing(p) {
		return true
	}
	if s.whole || s.now.Sub(later(s.started, s.doubting)) > wholeWithin {
		return false
	}
	for _, p := range s.peers {
		if p.large && s.repairing(p) {
			return true
		}
	}
	return false
}

// asked names the known ones of these owners for an answer.
func (s *Server) asked(ids []skerry.OwnerID) (records []Record) {
	for _, id := range ids {
		if o := s.owners[id]; o != nil && !o.doubt {
			records = append(records, Record{Owner: id})
		}
	}
	return records
}

// fetched returns the present records of owners.
func (s *Server) fetched(of []Record) []Record {
	records := make([]Record, 0, len(of))
	for _, r := range of {
		if o := s.owners[r.Owner]; o != nil {
			r = o.Record
			r.Attach = o.has
			records = append(records, r)
		}
	}
	return records
}

func (s *Server) takeFetched(p *peer, m Fetched) {
	s.progress(p, m.Repair)
	for _, r := range m.Records {
		s.merge(r)
	}
	switch {
	case m.Repair == 0 || m.Repair != p.repair:
	case m.Part != p.part:
		p.repair, p.sums = 0, nil // a part is missing: the next repair finds what
	case m.Part+1 < m.Parts:
		p.part++
	default:
		s.adopt(p)
	}
}

// adopt takes the positions that a finished repair stands for. A peer that left out owners, because
// it doubts them, is compared again until it knows.
func (s *Server) adopt(p *peer) {
	for id, pos := range p.sums {
		if q := s.peers[id]; q != nil && q.pos.before(pos) && !p.partial {
			q.pos = pos
		}
	}
	p.repair, p.sums, p.stale, p.compared, p.adopted = 0, nil, p.partial, true, s.now
	switch {
	case !s.doubting.IsZero():
		s.confirm()
	case !p.doubts:
		s.whole = true
	}
	s.takeLosses()
}
