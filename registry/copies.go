package registry

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// copies are the parts of large answers to servers that lack many sets. They leave one at a
// time, after all other messages: those are short, and ticks are among them.
type copies struct {
	waiting []cluster.Envelope // of cluster.Fetched
}

// copyRest is how often a server rests after a part, for as long as the part took: a copy
// takes a sixth of one processor, and requests go on.
const copyRest = 5

// add adds the parts of an answer. They replace those of an earlier answer to the same question.
func (c *copies) add(to cluster.ServerID, parts []cluster.Message) {
	repairs := func(m cluster.Message) bool { return m.(cluster.Fetched).Repair != 0 }
	c.waiting = slices.DeleteFunc(c.waiting, func(e cluster.Envelope) bool {
		return e.To == to && repairs(e.Message) == repairs(parts[0])
	})
	for _, m := range parts {
		c.waiting = append(c.waiting, cluster.Envelope{To: to, Message: m})
	}
}

// sendPart sends the next part of a copy, if one waits, and returns when the one after it may follow.
func (p *post) sendPart() (after time.Duration, more bool) {
	if len(p.copies.waiting) == 0 {
		return 0, false
	}
	began := time.Now()
	e := p.copies.waiting[0]
	p.copies.waiting = p.copies.waiting[1:]
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	p.send(to, e.To, e.Message)
	return copyRest * time.Since(began), len(p.copies.waiting) > 0
}

// parts splits an answer that is larger than a frame should be.
func (p *post) parts(m cluster.Message) []cluster.Message {
	f, is := m.(cluster.Fetched)
	if !is || len(f.Records) < 2 {
		return []cluster.Message{m}
	}
	runs := p.split(f.Records)
	parts := make([]cluster.Message, len(runs))
	for i, records := range runs {
		parts[i] = cluster.Fetched{Records: records, Repair: f.Repair, Part: i, Parts: len(runs)}
	}
	return parts
}

// split parts records into runs that fit into a frame, each of one record at least.
func (p *post) split(records []cluster.Record) (runs [][]cluster.Record) {
	size, from := 0, 0
	for i := range records {
		more := sizeOf(&records[i])
		if i > from && size+more > p.maxFrame {
			runs = append(runs, records[from:i])
			size, from = 0, i
		}
		size += more
	}
	return append(runs, records[from:])
}

// sizeOf estimates the bytes of a record in a frame.
func sizeOf(r *cluster.Record) int {
	const registers, record = 300, 400
	var instances []*skerry.Instance
	var checks []*skerry.Check
	switch {
	case r.Set != nil:
		instances, checks = r.Set.Instances, r.Set.Checks
	case r.Delta != nil:
		instances, checks = r.Delta.Instances, r.Delta.Checks
	default:
		return registers
	}
	n := registers + record*(1+len(instances)+len(checks))
	for _, c := range checks {
		n += len(c.Output) + len(c.Notes)
	}
	for _, i := range instances {
		for k, v := range i.Meta {
			n += len(k) + len(v)
		}
	}
	return n
}
