package consul

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// The bounds of one stream of events.
const (
	maxFollowed     = 100
	maxFollowedName = 512
	// eventWithin bounds the writing of an event: the client stands still beyond it.
	eventWithin = 10 * time.Second
	// pingEvery is how long a stream is silent before it has a comment, so that both ends notice a dead connection;
	// clients choose another time between leastPing and mostPing.
	pingEvery = 15 * time.Second
	leastPing = time.Second
	mostPing  = time.Minute
	// followTick is how often the caller's token and the age of the views are looked at.
	followTick = time.Second
)

// stream is one caller that follows services by server-sent events (WHATWG HTML, section 9.2).
type stream struct {
	*request
	sub   skerry.Subscription
	order []*streamed
	of    map[string]*streamed // by folded name
	age   int64                // of the views as it was sent, in seconds
	ping  time.Duration        // of silence before a comment
	wrote time.Time            // when the last line was written
	acks  string               // its name, if its events are acknowledged

	mu   sync.Mutex
	sent []unacked
	last string // the id that was acknowledged last
}

// streamed is a service of a stream.
type streamed struct {
	name   string
	reader uint64
	noted  bool   // as one that acknowledges
	digest uint64 // that the caller resumes from; 0: none
	// position is the caller's among the readers of the service, as it is kept in the token; 0: not known yet.
	position skerry.Position
	shown    *skerry.View // that it was sent
	whole    *skerry.View // of which shown is the visible part
	absent   bool         // it was sent that the view is not known
}

// followEvent is the data of the events "view" and "same".
type followEvent struct {
	Service  string
	Digest   string
	Position float64         `json:",omitempty"` // of the caller among the readers of the service, in the first event
	Whole    bool            `json:",omitempty"` // Entries and Draining are all, not those that changed
	Entries  json.RawMessage `json:",omitempty"` // as in health/service
	Draining []wire.Entry    `json:",omitempty"`
	Removed  []entryKey      `json:",omitempty"`
	Cause    skerry.Cause    `json:",omitempty"`
}

type entryKey struct{ Node, ID string }

// skerryFollow streams the views of services: each whole at first, then its changes.
func (q *request) skerryFollow() error {
	s, err := q.newStream()
	if err != nil {
		return err
	}
	defer s.close()
	h := q.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	h.Set("X-Skerry-Ping", s.ping.String())
	q.w.WriteHeader(http.StatusOK)
	flush(q.w)
	for _, f := range s.order {
		f.reader = rand.Uint64() | 1
		s.sub.Follow(f.name, f.position)
	}
	s.run() // the stream ends with its client
	return nil
}

func (q *request) newStream() (*stream, error) {
	q.p.parse()
	names := q.p.values["service"]
	if len(names) == 0 {
		return nil, badRequest("Missing service: name one, or several as service=a&service=b")
	}
	if len(names) > maxFollowed {
		return nil, badRequest("Too many services: a stream follows at most " + strconv.Itoa(maxFollowed) + ", open another one")
	}
	s := &stream{request: q, of: map[string]*streamed{}, ping: pingEvery, wrote: time.Now()}
	if given := q.p.get("ping"); given != "" {
		var err error
		if s.ping, err = time.ParseDuration(given); err != nil || s.ping < leastPing || s.ping > mostPing {
			return nil, badRequest("Invalid ping " + strconv.Quote(given) + ": want a time from 1s to 60s, such as 2s")
		}
	}
	for _, name := range names {
		key := skerry.Fold(name)
		if name == "" || len(name) > maxFollowedName {
			return nil, badRequest("Invalid service: a name has 1 to " + strconv.Itoa(maxFollowedName) + " bytes")
		}
		if s.of[key] == nil {
			s.of[key] = &streamed{name: key}
			s.order = append(s.order, s.of[key])
		}
	}
	token := q.p.get("resume")
	if last := q.r.Header.Get("Last-Event-ID"); last != "" {
		token = last
	}
	s.resume(token)
	if err := s.name(); err != nil {
		return nil, err
	}
	s.sub = q.f.b.Subscriber.Subscribe()
	return s, nil
}

// run sends events until the client is gone, or its token.
func (s *stream) run() {
	for {
		ctx, cancel := context.WithTimeout(s.r.Context(), min(followTick, time.Until(s.wrote.Add(s.ping))))
		names, err := s.sub.Next(ctx)
		cancel()
		if s.r.Context().Err() != nil {
			return
		}
		if err := s.identify(); err != nil {
			s.event("error", "", map[string]string{"Error": err.Error()})
			return
		}
		if err != nil { // a tick
			names = s.missing()
		}
		if time.Since(s.wrote) >= s.ping && !s.write(":\n\n") {
			return
		}
		for _, name := range names {
			if f := s.of[name]; f != nil && !s.news(f) {
				return
			}
		}
		if !s.aged() {
			return
		}
	}
}

func (s *stream) close() {
	s.sub.Close()
	if s.acks != "" {
		s.f.b.Streams.byName.Delete(s.acks)
	}
	for _, f := range s.order {
		s.f.b.Readers.Left(f.name, f.reader)
	}
}

// missing returns the services whose views are not known yet.
func (s *stream) missing() (names []string) {
	for _, f := range s.order {
		if f.shown == nil {
			names = append(names, f.name)
		}
	}
	return names
}

// news sends what the client lacks of a service. It returns false if the client is gone.
func (s *stream) news(f *streamed) bool {
	whole, age, err := s.f.b.Discovery.Service(s.r.Context(), f.name)
	if err != nil {
		if f.absent || s.r.Context().Err() != nil {
			return true
		}
		f.absent = true
		return s.event("unknown", "", map[string]string{"Service": f.name, "Error": err.Error()})
	}
	s.request.age = age
	if whole == f.whole {
		return true
	}
	shown, from := whole, f.shown
	if s.who != nil {
		shown = whole.Part(s.allowed().Keep)
		if len(shown.All()) == len(whole.All()) {
			shown = whole
		}
	}
	f.whole, f.shown = whole, shown
	if from == nil && f.position == 0 {
		f.position = s.sub.Position(f.name)
	}
	id := s.token()
	e := followEvent{Service: f.name, Digest: hexDigest(shown.Digest()), Cause: shown.Cause}
	if from == nil {
		e.Position = f.position.Part()
	}
	if from == nil && f.digest != 0 && f.digest == shortDigest(shown) {
		return s.listed(f, "same", id, whole.Index, e)
	}
	c := shown.Since(from)
	if from != nil && c.Empty() && from.Cause == shown.Cause {
		s.has(f, id, whole.Index, false)
		return true
	}
	e.Whole = from == nil
	for _, r := range c.Removed {
		e.Removed = append(e.Removed, entryKey{r.Node.Name, r.Instance.ID})
	}
	var entries []wire.Entry
	for _, u := range c.Upserts {
		if u.Instance.Draining {
			e.Draining = append(e.Draining, wire.EntryOf(u))
		} else {
			entries = append(entries, wire.EntryOf(u))
		}
	}
	if len(entries) > 0 {
		e.Entries, _ = json.Marshal(entries) // plain records
	}
	return s.listed(f, "view", id, whole.Index, e)
}

// listed writes an event about a list. It returns false if the client is gone.
func (s *stream) listed(f *streamed, kind, id string, index uint64, e followEvent) bool {
	if s.acks != "" {
		s.has(f, id, index, true) // the acknowledgement may come before the write returns
		return s.event(kind, id, e)
	}
	written := s.event(kind, id, e)
	s.has(f, id, index, true)
	return written
}

// aged sends the age of the views when they become stale, older, or current again.
func (s *stream) aged() bool {
	_, age, err := s.f.b.Discovery.Service(s.r.Context(), s.order[0].name)
	if err != nil {
		return true
	}
	now := int64(age / time.Second)
	if now == s.age || now > 0 && s.age > 0 && now/10 == s.age/10 {
		return true
	}
	s.age = now
	return s.event("state", "", map[string]int64{"Stale": now})
}

// event writes one event. It returns false if the client is gone.
func (s *stream) event(kind, id string, data any) bool {
	body, err := json.Marshal(data)
	if err != nil {
		return false
	}
	var b strings.Builder
	b.WriteString("event: " + kind + "\n")
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("data: ")
	b.Write(body) // JSON has no line breaks
	b.WriteString("\n\n")
	return s.write(b.String())
}

func (s *stream) write(text string) bool {
	c := http.NewResponseController(s.w)
	c.SetWriteDeadline(time.Now().Add(eventWithin))
	_, err := s.w.Write([]byte(text))
	if err == nil {
		err = c.Flush()
	}
	s.wrote = time.Now()
	return err == nil && c.SetWriteDeadline(time.Time{}) == nil
}

// A resume token has six bytes of the digest of each service and four of the caller's position, in the order of the query. Any
// server understands it.
const (
	shortLength = 6
	tokenLength = shortLength + 4
)

func shortDigest(v *skerry.View) uint64 {
	return max(v.Digest()>>(64-8*shortLength), 1)
}

func (s *stream) token() string {
	var b []byte
	for _, f := range s.order {
		digest := f.digest
		if f.shown != nil {
			digest = shortDigest(f.shown)
		}
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], digest)
		b = append(b, n[8-shortLength:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(f.position))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// resume takes a token. One that is not understood is none: the views are sent whole.
func (s *stream) resume(token string) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenLength*len(s.order) {
		return
	}
	for i, f := range s.order {
		var n [8]byte
		one := b[i*tokenLength:]
		copy(n[8-shortLength:], one[:shortLength])
		f.digest = binary.BigEndian.Uint64(n[:])
		f.position = skerry.Position(binary.BigEndian.Uint32(one[shortLength:]))
	}
}
