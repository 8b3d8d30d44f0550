package dns

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/miekg/dns"
)

const (
	headerSize = 12
	// maxPointer is the first offset that a compression pointer cannot reach.
	maxPointer = 0x4000
)

// envelope has the properties of a question, besides its name, that its answer needs.
type envelope struct {
	client net.Addr
	opt    *dns.OPT // of the question; nil without EDNS
	limit  int      // the most bytes that the client takes
	count  int      // the most answers for this transport and size
	policy int      // the most answers for any transport; not for want of room
	// bounded is whether limit is ours and not the client's; a cut answer has TC then.
	bounded  bool
	cookie   string // of the answer's COOKIE option, in hex; empty without one
	reserved []byte // the packed OPT record that the cookie is in, outside of limit
}

// reserve packs the OPT record of an answer with a cookie, which is never left out.
func (e *envelope) reserve() {
	reply := replyOPT(e)
	buf := make([]byte, dns.Len(reply))
	n, err := dns.PackRR(reply, buf, 0, nil, false)
	if err != nil {
		return // not reached: all of it was packed in the question
	}
	e.reserved = buf[:n]
	e.limit -= n
}

// assembler puts a message together from a prepared set. It is reused.
type assembler struct {
	buf     []byte
	order   []int32
	ranks   []ranked
	seen    []bool // by unit: its additional records are already counted or written
	targets []int  // by place in the order: where the SRV target is in the message
}

var assemblers = sync.Pool{New: func() any { return &assembler{buf: make([]byte, 0, 2048)} }}

// message returns the packed answer to q. It is valid until the next call. ok is false
// if the question's name cannot be packed.
func (a *assembler) message(st *state, q *dns.Msg, s set, env *envelope) (msg []byte, ok bool) {
	if !a.question(q) {
		return nil, false
	}
	owner := 0 // bytes of an answer's owner beyond a pointer
	if st.DisableCompression {
		owner = len(a.buf) - headerSize - 4 - 2
	}
	cut := a.pick(s, env, st.DisableCompression, owner)
	if !s.ordered() {
		shuffle(a.order)
	}

	qname := a.buf[headerSize : len(a.buf)-4]
	a.targets = a.targets[:0]
	for _, i := range a.order {
		rr := s.answer(s.unit(int(i)))
		target := len(a.buf) + srvTarget
		if st.DisableCompression {
			a.buf = append(a.buf, qname...)
			rr = rr[2:]
			target += owner
		}
		a.targets = append(a.targets, target)
		a.buf = append(a.buf, rr...)
	}
	extra := 0
	if s.addressBytes(false) > 0 {
		extra = a.additional(s, env, st.DisableCompression, set.addresses)
		extra += a.additional(s, env, st.DisableCompression, set.texts)
	}
	// Consul leaves the OPT record out of an answer that was cut, and so do we.
	if env.reserved != nil {
		a.buf = append(a.buf, env.reserved...)
		extra++
	} else if env.opt != nil && !cut && a.appendOPT(env) {
		extra++
	}
	truncated := cut && (st.EnableTruncate || env.bounded || len(a.order) == 0)
	a.head(st, q, len(a.order), extra, truncated)
	return a.buf, true
}

// again returns an answer to q with TC and without a record.
func (a *assembler) again(q *question) (msg []byte, ok bool) {
	if !a.question(q.msg) {
		return nil, false
	}
	extra := b2i(q.env.opt != nil && a.appendOPT(&q.env))
	a.head(q.st, q.msg, 0, extra, true)
	if q.zone == nil || q.foreign {
		a.buf[2] &^= 1 << 2 // no AA: the name is not ours
	}
	return a.buf, true
}

// b2i is 1 for true.
func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// question writes the question; the header's place is left for later.
func (a *assembler) question(q *dns.Msg) bool {
	a.buf = append(a.buf[:0], make([]byte, headerSize+256)...)
	at, err := dns.PackDomainName(q.Question[0].Name, a.buf, headerSize, nil, false)
	if err != nil {
		return false
	}
	a.buf = binary.BigEndian.AppendUint16(a.buf[:at], q.Question[0].Qtype)
	a.buf = binary.BigEndian.AppendUint16(a.buf, q.Question[0].Qclass)
	return true
}

// head writes the header.
func (a *assembler) head(st *state, q *dns.Msg, answers, extra int, truncated bool) {
	const qr, aa, tc, rd, ra, cd = 1 << 15, 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 4
	flags := uint16(qr | aa | b2i(truncated)*tc | b2i(q.RecursionDesired)*rd | b2i(q.CheckingDisabled)*cd | b2i(len(st.recursors) > 0)*ra)
	be := binary.BigEndian
	be.PutUint16(a.buf, q.Id)
	be.PutUint16(a.buf[2:], flags)
	be.PutUint16(a.buf[4:], 1)
	be.PutUint16(a.buf[6:], uint16(answers))
	be.PutUint16(a.buf[8:], 0)
	be.PutUint16(a.buf[10:], uint16(extra))
}

// pick fills a.order with the units that are answered, in no order, and reports
// whether some were left out for want of room.
func (a *assembler) pick(s set, env *envelope, fullNames bool, owner int) (cut bool) {
	n := s.count()
	a.order = a.order[:0]
	whole := len(a.buf) + s.answerBytes() + n*owner + s.addressBytes(fullNames)
	if n <= min(env.count, env.policy) && whole <= env.limit {
		for i := range n {
			a.order = append(a.order, int32(i))
		}
		return false
	}
	a.resetSeen(n)
	a.ranks = rank(s, env.client, a.ranks[:0])
	size := len(a.buf)
	for _, r := range a.ranks[:min(n, env.count, env.policy)] {
		u := s.unit(int(r.unit))
		more := len(s.answer(u)) + owner
		with := more
		if !a.seen[u.first()] {
			with += addressSize(s, u, fullNames)
		}
		if size+with > env.limit {
			// One answer without its address is still better than none.
			if len(a.order) == 0 && size+more <= env.limit {
				a.order = append(a.order, r.unit)
			}
			break
		}
		a.seen[u.first()] = true
		size += with
		a.order = append(a.order, r.unit)
	}
	return len(a.order) < min(n, env.policy)
}

func addressSize(s set, u unit, fullNames bool) (size int) {
	name := 2
	if fullNames {
		name = len(s.answer(u)) - srvTarget
	}
	for rest := s.addresses(u); len(rest) > 0; {
		var rr []byte
		rr, rest = nextRecord(rest)
		size += name + len(rr)
	}
	return size
}

func (a *assembler) resetSeen(n int) {
	if cap(a.seen) < n {
		a.seen = make([]bool, n)
	}
	a.seen = a.seen[:n]
	clear(a.seen)
}

// additional appends records of the targets that were answered, as far as there
// is room, and counts them.
func (a *assembler) additional(s set, env *envelope, fullNames bool, records func(set, unit) []byte) (count int) {
	a.resetSeen(s.count())
	for place, i := range a.order {
		u := s.unit(int(i))
		rest := records(s, u)
		if len(rest) == 0 || a.seen[u.first()] {
			continue
		}
		a.seen[u.first()] = true
		var pointer [2]byte
		owner := pointer[:]
		if at := a.targets[place]; fullNames || at >= maxPointer {
			owner = s.answer(u)[srvTarget:]
		} else {
			binary.BigEndian.PutUint16(owner, 0xC000|uint16(at))
		}
		for len(rest) > 0 {
			var rr []byte
			rr, rest = nextRecord(rest)
			if len(a.buf)+len(owner)+len(rr) > env.limit {
				return count
			}
			a.buf = append(append(a.buf, owner...), rr...)
			count++
		}
	}
	return count
}

// appendOPT answers the question's OPT record, if there is room.
func (a *assembler) appendOPT(env *envelope) bool {
	if len(env.opt.Option) > 0 {
		reply := replyOPT(env)
		buf := make([]byte, dns.Len(reply))
		n, err := dns.PackRR(reply, buf, 0, nil, false)
		if err != nil || len(a.buf)+n > env.limit {
			return false
		}
		a.buf = append(a.buf, buf[:n]...)
		return true
	}
	if len(a.buf)+11 > env.limit {
		return false
	}
	be := binary.BigEndian
	a.buf = append(a.buf, 0)
	a.buf = be.AppendUint16(a.buf, dns.TypeOPT)
	a.buf = be.AppendUint16(a.buf, env.opt.UDPSize())
	a.buf = be.AppendUint32(a.buf, uint32(b2i(env.opt.Do()))<<15)
	a.buf = be.AppendUint16(a.buf, 0)
	return true
}

// replyOPT makes the OPT record that answers the question's: its size and DO flag, the
// client subnet with scope 0, since answers do not depend on it, and the cookie.
func replyOPT(env *envelope) *dns.OPT {
	opt := env.opt
	out := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	out.SetUDPSize(opt.UDPSize())
	if opt.Do() {
		out.SetDo()
	}
	for _, o := range opt.Option {
		if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
			echo := *subnet
			echo.SourceScope = 0
			out.Option = append(out.Option, &echo)
			break
		}
	}
	if env.cookie != "" {
		out.Option = append(out.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: env.cookie})
	}
	return out
}
