package consul

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// Requests for other datacenters.

// farAnswered has a server of another datacenter answer the request if it is for one. It returns false for a request that
// is answered here: from then on q.f is the front of its datacenter.
func (q *request) farAnswered() bool {
	all := q.f.b.Datacenters
	if all == nil || q.route.at != byDatacenter && q.route.at != byFollower {
		return false
	}
	if q.route.names {
		q.p.dc = cmp.Or(q.named(), q.p.dc)
	}
	if q.knows(q.p.dc) {
		return false
	}
	dc := skerry.Fold(q.p.dc)
	if far := q.farFollowed(dc); far != nil {
		q.f = q.f.in(dc, far)
		return false
	}
	to := all.Forwarder(dc)
	if to == nil {
		return false // the request is refused where all are judged
	}
	if a := q.passedOn(); a != nil && a.Body != nil {
		q.rewind(a)
	}
	for name := range q.f.headers() { // the server there sets them
		q.w.Header().Del(name)
	}
	to.Forward(q.w, q.r, !q.route.single)
	return true
}

// named returns the datacenter that the body names, empty if it names none. A body that is not valid is refused where it is decoded.
func (q *request) named() string {
	if a := q.passedOn(); a != nil && a.Body != nil {
		q.rewind(a)
	}
	var body farBody
	data, err := wire.ReadAll(q.r.Body, q.r.ContentLength)
	if err == nil {
		q.budget().Decode(data, &body)
	}
	q.r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(data), failing{err}))
	return body.Datacenter
}

// farBody is any body with a datacenter.
type farBody struct{ Datacenter string }

// UnmarshalJSON implements [json.Unmarshaler].
func (b *farBody) UnmarshalJSON(data []byte) error {
	type plain farBody
	return json.Unmarshal(data, (*plain)(b))
}

// failing is the end of a body whose reading failed, or ended if the error is nil.
type failing struct{ err error }

// Read implements [io.Reader].
func (f failing) Read([]byte) (int, error) { return 0, cmp.Or(f.err, io.EOF) }

// farFollowed returns the services of another datacenter if this server answers the query from those that it follows. Where
// access is controlled the servers there decide.
func (q *request) farFollowed(dc string) skerry.Elsewhere {
	p := &q.p
	if q.route.at != byFollower || q.f.b.Gate != nil || p.consistent || p.near != "" || p.peer != "" || q.rest == "" {
		return nil
	}
	far := q.f.b.Datacenters.In(dc)
	if far == nil {
		return nil
	}
	if _, _, err := far.Service(q.r.Context(), q.rest); err != nil {
		return nil
	}
	return far
}

// headers returns the headers of every answer.
func (f *front) headers() http.Header {
	h := http.Header{}
	f.common(h)
	return h
}

// others are the fronts of other datacenters.
type others struct {
	mu sync.Mutex
	by map[string]*front
}

// in returns a front that answers from the services of another datacenter.
func (f *front) in(dc string, far skerry.Elsewhere) *front {
	f.others.mu.Lock()
	defer f.others.mu.Unlock()
	if had := f.others.by[dc]; had != nil && had.b.Discovery == far {
		return had
	}
	b := f.b
	b.Self.Datacenter, b.Discovery, b.Catalog, b.Datacenters = dc, far, far.Catalog(), nil
	b.Cluster, b.Readers, b.Settled = farServers{b.Cluster, far}, nil, nil // drains count the readers of their own datacenter
	out, err := newFront(f.cfg, b, f.m)
	if err != nil {
		panic(err) // the same configuration was valid before
	}
	if f.others.by == nil {
		f.others.by = map[string]*front{}
	}
	f.others.by[dc] = out
	return out
}

// farServers is the servers of another datacenter, as far as answers show them.
type farServers struct {
	skerry.Cluster // of this one
	far            skerry.Elsewhere
}

// LastContact implements [skerry.Contact].
func (s farServers) LastContact() (time.Duration, bool) {
	stale := s.far.Stale()
	return stale, stale == 0
}

// CatalogAge implements [skerry.Contact].
func (s farServers) CatalogAge() time.Duration { return s.far.Stale() }
