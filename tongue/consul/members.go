package consul

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/skerryhq/skerry"
)

// self returns this process as a member.
func (q *request) self() *skerry.Member {
	all := q.f.b.Cluster.Members()
	at := slices.IndexFunc(all, func(m skerry.Member) bool { return m.Name == q.f.b.Self.Name })
	return &all[max(at, 0)]
}

// leaderAddress returns the address of the leader; "" while there is none.
func (q *request) leaderAddress() string {
	m, _ := q.f.b.Cluster.Leader()
	return m.Address
}

// servers returns the members that are servers.
func (q *request) servers() (out []skerry.Member) {
	for _, m := range q.f.b.Cluster.Members() {
		if m.Server {
			out = append(out, m)
		}
	}
	return out
}

// contact sets the headers for the age of the answer.
func (q *request) contact(h http.Header) {
	ago, known := q.ago, q.known // of before the read: the leader may have been heard since
	switch {
	case q.fresh:
		ago, known = 0, true
	case !q.stored:
		_, known = q.f.b.Cluster.LastContact()
		ago = q.f.b.Cluster.CatalogAge()
	}
	h["X-Consul-Knownleader"] = isFalse
	if known {
		h["X-Consul-Knownleader"] = isTrue
	}
	h["X-Consul-Lastcontact"] = zero
	if ago = max(ago, q.age); ago > 0 {
		q.stale(q.age)
		h["X-Consul-Lastcontact"] = []string{strconv.FormatInt(ago.Milliseconds(), 10)}
	}
}

// consistency returns the mode in which the answer was read. An answer that may lack
// changes which others acknowledged is stale, whatever was asked for.
func (q *request) consistency() []string {
	switch {
	case q.p.stale, q.stored && !q.fresh:
		return staleMode
	case q.p.consistent:
		return strictMode
	case !q.stored && (q.age > 0 || q.f.b.Cluster.CatalogAge() > 0):
		return staleMode
	default:
		return leaderMode
	}
}

// tooOld clears ?stale where it came with a max_stale that the answer would exceed.
func (q *request) tooOld(ago time.Duration) {
	if q.p.maxStale > 0 && ago > q.p.maxStale {
		q.p.stale = false
	}
}

// resyncWithin bounds the wait of a query that was parked for the word of a majority.
const resyncWithin = time.Second

// synced waits until this server has all earlier changes of the quorum store, unless the
// answer may be stale. A query that was parked is answered without a majority too, as a
// stale one.
func (q *request) synced() error {
	q.stored = true
	q.ago, q.known = q.f.b.Cluster.LastContact()
	q.tooOld(q.ago)
	if q.p.stale {
		return nil
	}
	ctx := q.r.Context()
	if q.resumed {
		if !q.known && !q.p.consistent {
			return nil
		}
		bounded, cancel := context.WithTimeout(ctx, resyncWithin)
		defer cancel()
		ctx = bounded
	}
	err := q.f.b.Keys.Sync(ctx)
	if q.fresh = err == nil; q.resumed && !q.p.consistent {
		return nil
	}
	return err
}

// caughtUp waits until this server's catalog has all earlier changes if the answer has to
// be consistent.
func (q *request) caughtUp() error {
	q.tooOld(q.f.b.Cluster.CatalogAge())
	if !q.p.consistent || q.resumed {
		return nil
	}
	return q.f.b.Cluster.CatchUp(q.r.Context())
}

// knowsLeader reports whether a leader is known.
func (q *request) knowsLeader() bool {
	_, known := q.f.b.Cluster.LastContact()
	return known
}
