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
	all, sent, away := q.f.b.Datacenters, q.p.dc, false
	if p := q.f.b.Primary; p != nil && q.route.decided != nil && q.knows(q.p.dc) && q.route.decided(q) {
		q.p.dc, away = p.Datacenter, true
	}
	if away && (all == nil || all.Forwarder(q.p.dc) == nil) {
		q.fail(bare(errNoPath)) // without a look at the token: the caller may be known there alone
		return true
	}
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
	if away && sent != "" { // the name of this one
		q.setDatacenter(dc)
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

// setDatacenter puts another datacenter into the query.
func (q *request) setDatacenter(dc string) {
	own, v := *q.r.URL, q.r.URL.Query()
	v.Set("dc", dc)
	own.RawQuery = v.Encode()
	q.r = q.r.Clone(q.r.Context())
	q.r.URL = &own
}

// named returns the datacenter that the body names, empty if it names none. A body that is not valid is refused where it is decoded.
func (q *request) named() string {
	var body struct{ Datacenter string }
	q.peek(&body)
	return body.Datacenter
}

// peek decodes some fields of the body, which can be read again.
func (q *request) peek(fields any) error {
	if a := q.passedOn(); a != nil && a.Body != nil {
		q.rewind(a)
	}
	data, err := wire.ReadAll(q.r.Body, q.r.ContentLength)
	q.r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(data), failing{err}))
	if err == nil {
		err = q.budget().Decode(data, &some{fields})
	}
	return err
}

// some decodes the fields that are looked for, and no others.
type some struct{ fields any }

// UnmarshalJSON implements [json.Unmarshaler].
func (s *some) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, s.fields) }

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
