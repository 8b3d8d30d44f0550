package consul

import (
	"hash/maphash"
	"net"
	"strings"

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
