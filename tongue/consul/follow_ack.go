package consul

import (
	"net/http"
	"slices"

	"github.com/skerryhq/skerry"
)

// A drain counts a stream as soon as an event was written. A client that says when it uses an event's list, and not
// earlier, opens its stream with ?ack= and a name, and acknowledges events by their ids.

const (
	// The bounds of the name of a stream, in bytes: the client chooses it at random.
	minAckName, maxAckName = 16, 64
	// maxUnacked bounds the events of a stream that wait for an acknowledgement; an acknowledgement of a later one
	// counts for those before.
	maxUnacked = 1000
)

// unacked is an event that was written.
type unacked struct {
	id    string
	of    *streamed
	index uint64
}

// name names a stream that is acknowledged.
func (s *stream) name() error {
	name := s.p.get("ack")
	if name == "" {
		return nil
	}
	if len(name) < minAckName || len(name) > maxAckName {
		return badRequest("Invalid ack: name the stream by 16 to 64 random characters")
	}
	if _, taken := s.f.b.Streams.byName.LoadOrStore(name, s); taken {
		return status(http.StatusConflict, "Invalid ack: a stream of that name is open; choose another at random")
	}
	s.acks = name
	return nil
}

// has notes that the view of an event was written, or will be acknowledged. Without an event the client sees no
// difference: it has the view as soon as it has the one before.
func (s *stream) has(f *streamed, id string, index uint64, event bool) {
	readers := s.f.b.Readers
	if s.acks == "" {
		readers.Asked(f.name, f.reader, index)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !event {
		for i := range slices.Backward(s.sent) {
			if s.sent[i].of == f {
				s.sent[i].index = index
				return
			}
		}
		readers.Asked(f.name, f.reader, index)
		return
	}
	if !f.noted {
		f.noted = true
		readers.Asked(f.name, f.reader, 0)
	}
	if len(s.sent) == maxUnacked {
		s.sent = append(s.sent[:0], s.sent[1:]...)
	}
	s.sent = append(s.sent, unacked{id, f, index})
}

// acknowledge notes that the client uses the lists up to an event. It reports whether the event is known.
func (s *stream) acknowledge(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := -1
	for i, e := range s.sent {
		if e.id == id {
			last = i
		}
	}
	for _, e := range s.sent[:last+1] {
		s.f.b.Readers.Asked(e.of.name, e.of.reader, e.index)
	}
	if last >= 0 {
		s.sent = append(s.sent[:0], s.sent[last+1:]...)
		s.last = id
	}
	return last >= 0 || id == s.last
}

// skerryAck takes an acknowledgement.
func (q *request) skerryAck() error {
	name, id := q.p.get("ack"), q.p.get("id")
	if name == "" || id == "" {
		return badRequest("Missing ack or id: give the name of the stream, and the id of the last event whose list is used")
	}
	s, open := q.f.b.Streams.byName.Load(name)
	if !open {
		return &skerry.Error{Kind: skerry.NotFound, Message: "no stream of that name is open here"}
	}
	if !s.(*stream).acknowledge(id) {
		return &skerry.Error{Kind: skerry.NotFound, Message: "the stream has no event with that id which is not acknowledged"}
	}
	return q.json(true)
}
