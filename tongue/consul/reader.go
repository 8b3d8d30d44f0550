package consul

import (
	"hash/maphash"
	"net"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// asks notes that the caller asks for a service; the reader of a drain's count is a client with one query. It must be
// called before the query waits.
func (q *request) asks(service string) {
	if q.resumed {
		return
	}
	q.reader = q.readerID()
	if have := q.p.index; have > 0 && !q.f.b.Discovery.Foreign(have) {
		q.f.b.Readers.Asked(skerry.Fold(service), q.reader, have)
	}
}

// gets notes that the caller gets the view of a service.
func (q *request) gets(service string, index uint64) {
	q.f.b.Readers.Served(skerry.Fold(service), q.reader, index, q.p.index > 0)
}

// parts notes that a caller went away while it waited.
func (q *request) parts() {
	if q.reader != 0 {
		q.f.b.Readers.Left(skerry.Fold(q.rest), q.reader)
	}
}

// maxDrain is the longest time that a drain may wait.
const maxDrain = 10 * time.Minute

// drain returns how long ?drain= may wait for readers; drains is false without it.
func (q *request) drain() (within time.Duration, drains bool, err error) {
	if !strings.Contains(q.p.raw, "drain") || !q.p.has("drain") {
		return 0, false, nil
	}
	within, err = time.ParseDuration(q.p.get("drain"))
	if err != nil || within <= 0 || within > maxDrain {
		return 0, false, badRequest("Invalid drain: give the time that it may wait for readers, for example drain=30s, 10m at most")
	}
	return within, true, nil
}

var readerSeed = maphash.MakeSeed()

// readerID is the number of the client with its query, without the index and the time that it waits.
func (q *request) readerID() uint64 {
	var h maphash.Hash
	h.SetSeed(readerSeed)
	host, _, err := net.SplitHostPort(q.r.RemoteAddr)
	if err != nil {
		host = q.r.RemoteAddr
	}
	h.WriteString(host)
	h.WriteString(q.r.URL.Path)
	for rest := q.p.raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if !strings.HasPrefix(pair, "index=") && !strings.HasPrefix(pair, "wait=") {
			h.WriteByte('&')
			h.WriteString(pair)
		}
	}
	return h.Sum64() | 1 // 0 is none
}
