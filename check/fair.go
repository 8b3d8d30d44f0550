package check

import (
	"container/list"
	"strings"
	"time"
)

// longTimeout is the timeout above which a target counts as slow before it was
// seen to be: no kind's default is longer.
const longTimeout = 30 * time.Second

// share counts the runners that one service or one peer has, for as long as one of
// its targets runs or waits.
type share struct {
	name    string
	running int
	lanes   int // with targets in them
}

// queues hold the targets that are due, and choose the next. Runs that hang cannot be
// taken back, so runners are given out with care. All slow targets together get one more
// only while they have fewer than are free. A service gets one more of the rest only
// while it has fewer, and a peer of the rest after that. One that hangs has a quarter to
// a half of them in the end, a second one less, and some are always left for the others.
//
// Turns go round: between prompt and slow targets, then between services, then
// between the peers of a service.
type queues struct {
	most, running, waiting int
	shares                 map[string]*share
	classes                [2]class // prompt and slow
	turn                   int
	fullAt                 int64 // the last moment at which no runner was free; -1: none yet
}

type class struct {
	running  int
	services map[string]*line
	ring     list.List // of *line, the next one first
}

// line is the waiting targets of one service in one class.
type line struct {
	service *share
	place   *list.Element // in the class's ring
	lanes   map[string]*lane
	ring    list.List // of *lane
}

// lane is those with the same peers, in their order.
type lane struct {
	peers []*share
	place *list.Element // in the line's ring
	queue list.List     // of *target
}

// turn is the data of a target for its turns.
type turn struct {
	service string
	peers   []string
	slow    bool          // its last run used its timeout up, or its timeout is long
	place   *list.Element // in its lane, while it waits
	since   int64         // it waits
	held    []*share      // while it runs
	in      *class        // that it runs in
}

func newQueues(most int) *queues {
	q := &queues{most: most, shares: map[string]*share{}, fullAt: -1}
	for i := range q.classes {
		q.classes[i].services = map[string]*line{}
	}
	return q
}

func (q *queues) share(name string) *share {
	s := q.shares[name]
	if s == nil {
		s = &share{name: name}
		q.shares[name] = s
	}
	return s
}

// forget drops a share without a running or waiting target.
func (q *queues) forget(s *share) {
	if s.running == 0 && s.lanes == 0 {
		delete(q.shares, s.name)
	}
}

func (q *queues) free() int { return q.most - q.running }

// left returns how many runners a class leaves to its services: one that has fewer
// may have one more.
func (q *queues) left(c *class) int {
	if c == &q.classes[0] {
		return q.free()
	}
	if left := q.free(); c.running < left {
		return left - c.running
	}
	return 0
}

// admits reports whether all of the peers have fewer runners than are left.
func (n *lane) admits(left int) bool {
	for _, s := range n.peers {
		if s.running >= left {
			return false
		}
	}
	return left > 0
}

func (q *queues) class(t *target) *class {
	if t.turn.slow {
		return &q.classes[1]
	}
	return &q.classes[0]
}

func (t *target) laneKey() string { return strings.Join(t.turn.peers, "\x00") }

// add puts a target at the end of its lane.
func (q *queues) add(t *target, now int64) {
	c := q.class(t)
	l := c.services[t.turn.service]
	if l == nil {
		l = &line{service: q.share("service " + t.turn.service), lanes: map[string]*lane{}}
		l.service.lanes++
		l.place = c.ring.PushBack(l)
		c.services[t.turn.service] = l
	}
	key := t.laneKey()
	n := l.lanes[key]
	if n == nil {
		n = &lane{}
		for _, p := range t.turn.peers {
			s := q.share(p)
			s.lanes++
			n.peers = append(n.peers, s)
		}
		n.place = l.ring.PushBack(n)
		l.lanes[key] = n
	}
	t.turn.since = now
	t.turn.place = n.queue.PushBack(t)
	q.waiting++
}

// remove takes a waiting target out.
func (q *queues) remove(t *target) {
	c := q.class(t)
	l := c.services[t.turn.service]
	n := l.lanes[t.laneKey()]
	n.queue.Remove(t.turn.place)
	t.turn.place = nil
	q.waiting--
	if n.queue.Len() > 0 {
		return
	}
	l.ring.Remove(n.place)
	delete(l.lanes, t.laneKey())
	for _, s := range n.peers {
		s.lanes--
		q.forget(s)
	}
	if l.ring.Len() > 0 {
		return
	}
	c.ring.Remove(l.place)
	delete(c.services, t.turn.service)
	l.service.lanes--
	q.forget(l.service)
}

// next takes out the target whose turn it is and gives it a runner; nil when
// no target may have one.
func (q *queues) next(now int64) *target {
	for range q.classes {
		c := &q.classes[q.turn]
		q.turn = (q.turn + 1) % len(q.classes)
		if t := q.nextOf(c); t != nil {
			q.start(t, c, now)
			return t
		}
	}
	return nil
}

func (q *queues) nextOf(c *class) *target {
	left := q.left(c)
	if left == 0 {
		return nil
	}
	for e := c.ring.Front(); e != nil; e = e.Next() {
		l := e.Value.(*line)
		if l.service.running >= left {
			continue
		}
		for f := l.ring.Front(); f != nil; f = f.Next() {
			if n := f.Value.(*lane); n.admits(left - l.service.running) {
				c.ring.MoveToBack(e)
				l.ring.MoveToBack(f)
				return n.queue.Front().Value.(*target)
			}
		}
	}
	return nil
}

func (q *queues) start(t *target, c *class, now int64) {
	l := c.services[t.turn.service]
	t.turn.held = append([]*share{l.service}, l.lanes[t.laneKey()].peers...)
	for _, s := range t.turn.held {
		s.running++
	}
	t.turn.in = c
	c.running++
	q.remove(t)
	if q.running++; q.running >= q.most {
		q.fullAt = now
	}
}

// done gives the target's runner back.
func (q *queues) done(t *target, now int64) {
	if q.running >= q.most {
		q.fullAt = now
	}
	q.running--
	t.turn.in.running--
	for _, s := range t.turn.held {
		s.running--
		q.forget(s)
	}
	t.turn.held, t.turn.in = nil, nil
}

// lacked reports whether a target that waited until now did so for a runner, not
// only for its service or its peers to give one back.
func (q *queues) lacked(t *target) bool { return q.fullAt >= t.turn.since }

// backlog is the waiting targets.
type backlog struct {
	held   int     // targets that wait for a runner of their service, their peers or the slow ones
	oldest *target // that waits
}

func (q *queues) backlog() (b backlog) {
	for i := range q.classes {
		c := &q.classes[i]
		for e := c.ring.Front(); e != nil; e = e.Next() {
			l := e.Value.(*line)
			left := q.left(c) - l.service.running
			for f := l.ring.Front(); f != nil; f = f.Next() {
				n := f.Value.(*lane)
				if !n.admits(left) {
					b.held += n.queue.Len()
				}
				if t := n.queue.Front().Value.(*target); b.oldest == nil || t.turn.since < b.oldest.turn.since {
					b.oldest = t
				}
			}
		}
	}
	return b
}
