package registry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
)

// post sends messages in their order, away from the registry's lock.
type post struct {
	maxFrame int
	metrics  *metrics
	log      *slog.Logger

	mu      sync.Mutex
	to      Sender
	waiting []cluster.Envelope
	wake    chan struct{}

	copies copies // of the sending goroutine
}

// maxWaiting bounds the messages that wait to be encoded. Beyond it the oldest are dropped,
// and repair brings what they carried.
const maxWaiting = 1 << 16

func newPost(maxFrame int, m *metrics, log *slog.Logger) *post {
	return &post{maxFrame: maxFrame, metrics: m, log: log, wake: make(chan struct{}, 1)}
}

func (p *post) connect(to Sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

// add posts messages, with the present sets put in where a message asks for them.
func (p *post) add(messages []cluster.Envelope, whole func(skerry.OwnerID) *skerry.Set) {
	if len(messages) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to == nil {
		return
	}
	for _, e := range messages {
		switch m := e.Message.(type) {
		case cluster.Fetched:
			fill(m.Records, whole)
		case cluster.Log:
			fill(m.Records, whole)
		}
		p.waiting = append(p.waiting, e)
	}
	if over := len(p.waiting) - maxWaiting; over > 0 {
		p.waiting = p.waiting[over:]
		p.metrics.dropped.Add(float64(over))
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// fill puts the present sets into the records that ask for them.
func fill(records []cluster.Record, whole func(skerry.OwnerID) *skerry.Set) {
	for i := range records {
		if r := &records[i]; r.Attach {
			r.Attach, r.Set = false, whole(r.Owner)
		}
	}
}

// gather is the least time between two rounds of sending. Messages that come meanwhile leave together:
// a frame costs each server more than a record in it.
const gather = 2 * time.Millisecond

// run sends until ctx ends, and then what waits, without the rest of copies.
func (p *post) run(ctx context.Context) {
	defer p.flush()
	pause, part := time.NewTimer(gather), time.NewTimer(0)
	defer pause.Stop()
	defer part.Stop()
	resting := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-part.C:
			resting = false
		}
		p.flush() // first, also where a part is due: one of two that are ready is taken by chance
		if !resting {
			if after, more := p.sendPart(); more {
				part.Reset(after)
				resting = true
			}
		}
		pause.Reset(gather)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// flush sends the messages that wait. Copies wait on.
func (p *post) flush() {
	p.mu.Lock()
	messages, to := p.waiting, p.to
	p.waiting = nil
	p.mu.Unlock()
	if to == nil {
		return
	}
	for _, e := range joined(messages) {
		if log, is := e.Message.(cluster.Log); is {
			for _, part := range p.logs(log) {
				p.send(to, e.To, part)
			}
			continue
		}
		parts := p.parts(e.Message)
		if len(parts) > 1 {
			p.copies.add(e.To, parts)
			continue
		}
		p.send(to, e.To, parts[0])
	}
}

func (p *post) send(by Sender, to cluster.ServerID, m cluster.Message) {
	data, err := frame.Encode(m)
	if err == nil {
		err = by.Send(string(to), data)
	}
	if err != nil {
		p.log.Error("a message to other servers cannot be sent", "to", to, "kind", frame.Kind(m), "error", err)
	}
}

// logs splits a log that is larger than a frame should be. The parts follow each other.
func (p *post) logs(m cluster.Log) (parts []cluster.Log) {
	first := m.First
	for _, records := range p.split(m.Records) {
		parts = append(parts, cluster.Log{First: first, Records: records})
		first.Seq += uint64(len(records))
	}
	return parts
}

// joinedRecords is the most records of logs that are joined into one.
const joinedRecords = 256

// joined makes one log of logs that follow each other.
func joined(messages []cluster.Envelope) []cluster.Envelope {
	out := messages[:0]
	for _, e := range messages {
		log, is := e.Message.(cluster.Log)
		if n := len(out); is && n > 0 && out[n-1].To == e.To {
			last, was := out[n-1].Message.(cluster.Log)
			next := cluster.Pos{Life: last.First.Life, Seq: last.First.Seq + uint64(len(last.Records))}
			if was && next == log.First && len(last.Records)+len(log.Records) <= joinedRecords {
				last.Records = append(last.Records, log.Records...)
				out[n-1].Message = last
				continue
			}
		}
		out = append(out, e)
	}
	return out
}
