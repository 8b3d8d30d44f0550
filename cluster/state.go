package cluster

import (
	"time"

	"github.com/skerryhq/skerry"
)

// owner is what a server knows of an owner.
type owner struct {
	Record               // without content
	has    bool          // the catalog has the set of Version
	shown  bool          // the catalog shows it
	held   bool          // the catalog shows that the guard holds it
	beat   time.Duration // when it was heard last, at its home; see Server.living
	heard  bool          // by this server as its home; else beat is when it became the home
	here   time.Time     // when this server heard it last, whatever its home
	until  time.Time     // the end of the guard's hold, at the home
	putOff time.Time     // since when a loss is not taken, see Server.putOff
	homed  time.Time     // when this server learned of its home
	// claimed is when a server that is not its home named itself as it.
	claimed time.Time

	above skerry.Version // a greater version that another server knows, and no server has

	touched bool      // in this step
	content []*Record // that came in this step, for the catalog
	said    bool      // it goes into the log
	news    *Record   // its own word, for the log
	revived bool      // in this step: others may not have its set
	part    uint64    // of the sums
	bucket  int       // see bucketOf
	listed  ServerID  // among whose owners it is; "": it does not live
	place   int       // there
	slot    int64     // of the wheel, in which it is looked at next; 0: none
	filed   int64     // Ended, where it is noted for forgetting
	doubt   bool      // see Server.away
}

// get returns the state of an owner, and makes it at first.
func (s *Server) get(r *Record) *owner {
	o := s.owners[r.Owner]
	if o == nil {
		o = &owner{Record: Record{Owner: r.Owner, Kind: r.Kind, TTL: r.TTL}, bucket: bucketOf(r.Owner), here: s.strangers[r.Owner]}
		delete(s.strangers, r.Owner)
		s.owners[r.Owner] = o
		s.inBucket[o.bucket] = append(s.inBucket[o.bucket], o)
	}
	return o
}

// describe sets the kind and the TTL of an owner.
func (s *Server) describe(o *owner, kind skerry.OwnerKind, ttl time.Duration) {
	if o.Kind == kind && o.TTL == ttl {
		return
	}
	o.Kind, o.TTL, o.slot = kind, ttl, 0
	s.index(o)
}

// edit changes the state of an owner and keeps the sums and lists.
func (s *Server) edit(o *owner, change func()) {
	change()
	if !o.dead() {
		o.Ended = 0
	}
	is := o.hash()
	s.sums[o.bucket] += is - o.part
	s.sum += is - o.part
	o.part = is
	s.index(o)
}

// FNV-1a.
const (
	fnvStart = 14695981039346656037
	fnvPrime = 1099511628211
)

type sum uint64

func (h *sum) text(t string) {
	for i := range len(t) {
		*h = (*h ^ sum(t[i])) * fnvPrime
	}
}

func (h *sum) number(v uint64) {
	for range 8 {
		*h = (*h ^ sum(v&0xff)) * fnvPrime
		v >>= 8
	}
}

// hash is an owner's part of the sums. By is not part of it: it is not compared.
func (o *owner) hash() uint64 {
	if o.doubt || !o.Stand.attached() && o.Version == (skerry.Version{}) {
		return 0
	}
	h := sum(fnvStart)
	h.text(string(o.Owner))
	h.number(o.Version.Epoch)
	h.number(o.Version.Seq)
	h.number(o.Digest)
	h.number(o.Stand.Epoch)
	h.number(o.Stand.Attach)
	flags := uint64(o.Stand.State) << 2
	if o.has {
		flags |= 1
	}
	if o.Gone {
		flags |= 2
	}
	h.number(uint64(o.Stand.Bid)<<8 | flags)
	h.number(uint64(o.Ended))
	h.text(string(o.Stand.Home))
	return uint64(h)
}

// bucketOf returns the bucket of an owner. All servers have to agree on it.
func bucketOf(id skerry.OwnerID) int {
	h := sum(fnvStart)
	h.text(string(id))
	return int(h % buckets)
}

// publish notes that an owner goes into the log at the end of the step. r has the content
// that came, if any.
func (s *Server) publish(o *owner, r *Record) {
	s.touch(o)
	o.said = true
	if r != nil {
		o.news = r
	}
}

// show notes that the catalog may have to show an owner differently. r has the content that
// came, if any.
func (s *Server) show(o *owner, r *Record) {
	s.touch(o)
	if r != nil {
		o.content = append(o.content, r)
	}
}

func (s *Server) touch(o *owner) {
	if !o.touched {
		o.touched = true
		s.touched = append(s.touched, o)
	}
}

// frame is the most records in one Log.
const frame = 64

// finish turns all that a step has touched into changes of the catalog and records of the
// log. A step is one change: a loss that is contested in the same frame takes out nothing.
func (s *Server) finish() {
	var first Pos
	var log []Record
	flush := func() {
		if len(log) > 0 {
			s.send("", Log{first, log})
			log = nil
		}
	}
	for _, o := range s.touched {
		s.change(o)
		if o.said {
			r := o.Record
			if o.news != nil && o.has {
				r.Base, r.Delta, r.Set = o.news.Base, o.news.Delta, o.news.Set
			}
			pos := s.ring.add(r, s.Others())
			r.Attach = o.revived && o.has && o.news == nil
			if len(log) == 0 {
				first = pos
			}
			if log = append(log, r); len(log) == frame {
				flush()
			}
		}
		o.touched, o.said, o.revived, o.content, o.news = false, false, false, nil, nil
	}
	flush()
	s.touched = s.touched[:0]
}

// has reports whether the catalog has the set of a record's version.
func (s *Server) has(r *Record) bool {
	o := s.owners[r.Owner]
	return o != nil && o.has && o.Version == r.Version
}

// lost reports whether an owner's silence was judged.
func (r *Record) lost() bool { return r.Stand.attached() && r.Stand.State == Lost }

// attachedAs reports whether an owner that was not withdrawn is in a state.
func (o *owner) attachedAs(is State) bool {
	return o.Stand.attached() && !o.Gone && o.Stand.State == is
}

func (s *Server) change(o *owner) {
	visible := o.has && o.Stand.attached() && !o.Gone && !o.lost()
	held := visible && o.Stand.State == Held
	switch {
	case visible:
		for _, r := range o.content {
			c := Change{Record: o.Record, Show: true, Held: held}
			c.Version, c.Digest, c.Base, c.Delta, c.Set = r.Version, r.Digest, r.Base, r.Delta, r.Set
			s.out.Changes = append(s.out.Changes, c)
		}
		if len(o.content) == 0 && held != o.held {
			s.out.Changes = append(s.out.Changes, Change{Record: o.Record, Show: true, Held: held})
		}
	case o.shown:
		c := Change{Record: o.Record, Cause: skerry.CauseDeregistered}
		if o.Stand.State == Lost && !o.Gone {
			c.Cause = skerry.CauseExpired
		}
		s.out.Changes = append(s.out.Changes, c)
	}
	if !visible && o.has { // the catalog has no set of an owner that it does not show
		s.edit(o, func() { o.has = false })
	}
	o.shown, o.held = visible, held
}

// Shows reports whether this server shows an owner's set, and in which version.
func (s *Server) Shows(id skerry.OwnerID) (skerry.Version, bool) {
	o := s.owners[id]
	if o == nil {
		return skerry.Version{}, false
	}
	return o.Version, o.shown
}

// Sum returns the sum over all owners: equal sums mean equal knowledge.
func (s *Server) Sum() uint64 { return s.sum }

// Stand returns what this server knows of an owner's life.
func (s *Server) Stand(id skerry.OwnerID) Stand {
	if o := s.owners[id]; o != nil {
		return o.Stand
	}
	return Stand{}
}

// Record returns the registers of an owner, without content. ok is false if it is not known.
func (s *Server) Record(id skerry.OwnerID) (r Record, ok bool) {
	if o := s.owners[id]; o != nil {
		return o.Record, true
	}
	return Record{}, false
}

// Up reports whether this server and another hear each other.
func (s *Server) Up(id ServerID) bool { return s.up(id) }

// Newest returns the greatest version of an owner that this server knows of, also where no server
// has its set any more. A new version has to be above it.
func (s *Server) Newest(id skerry.OwnerID) skerry.Version {
	o := s.owners[id]
	switch {
	case o == nil:
		return skerry.Version{}
	case o.Version.Less(o.above):
		return o.above
	default:
		return o.Version
	}
}
