package consul

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// params are the query parameters that many endpoints share. An error in one is kept
// until an endpoint reads the parameter, since endpoints differ in the parameters that
// they read.
type params struct {
	dc, near, filter, hash string
	tags, nodeMeta         []string
	hasTags                bool
	index                  uint64
	wait                   time.Duration
	token                  string // of the caller; never shown
	stale, consistent      bool
	cached, pretty         bool
	passing                bool
	maxStale               time.Duration // 0: an answer may have any age, if it may be stale
	peer                   string        // another cluster, of which none is known

	indexErr, waitErr, staleErr, passingErr error

	values url.Values // of other parameters, parsed on demand
	raw    string
}

// read parses the query. It makes no url.Values: most queries are a word or two.
func (p *params) read(r *http.Request) error {
	p.raw = r.URL.RawQuery
	if r.Header["X-Consul-Namespace"] != nil {
		return badRequest(`Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature`)
	}
	if r.Header["X-Consul-Partition"] != nil {
		return badRequest(`Invalid header: "X-Consul-Partition" - Partitions are a Consul Enterprise feature`)
	}
	for rest := p.raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, given := strings.Cut(pair, "=")
		if strings.IndexByte(value, '%') >= 0 || strings.IndexByte(value, '+') >= 0 {
			if v, err := url.QueryUnescape(value); err == nil {
				value = v
			}
		}
		if err := p.set(key, value, given); err != nil {
			return err
		}
	}
	return nil
}

func (p *params) set(key, value string, given bool) error {
	switch key {
	case "dc":
		p.dc = value
	case "token":
		p.token = value
	case "near":
		p.near = value
	case "filter":
		p.filter = value
	case "hash":
		p.hash = value
	case "tag":
		p.hasTags = true
		p.tags = append(p.tags, value)
	case "node-meta":
		p.nodeMeta = append(p.nodeMeta, value)
	case "stale":
		p.stale = true
	case "consistent":
		p.consistent = true
	case "cached":
		p.cached = true
	case "pretty":
		p.pretty = true
	case "passing":
		p.passing = true
		if value != "" {
			var err error
			if p.passing, err = strconv.ParseBool(value); err != nil {
				p.passingErr = badRequest("Invalid value for ?passing")
			}
		}
	case "index":
		if p.index == 0 && p.indexErr == nil && value != "" {
			var err error
			if p.index, err = strconv.ParseUint(value, 10, 64); err != nil {
				p.indexErr = badRequest("Invalid index")
			}
		}
	case "wait":
		if value != "" {
			var err error
			if p.wait, err = time.ParseDuration(value); err != nil {
				p.waitErr = badRequest("Invalid wait time")
			}
		}
	case "max_stale":
		d, err := time.ParseDuration(value)
		if err != nil {
			p.staleErr = badRequest("Invalid max_stale value " + strconv.Quote(value))
		}
		p.stale, p.maxStale = p.stale || d > 0, max(d, 0)
	case "ns":
		return badRequest(`Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`)
	case "partition":
		return badRequest(`Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`)
	case "sg", "sameness-group":
		if value != "" {
			return badRequest(`Invalid query parameter: "` + key + `" - Sameness groups are a Consul Enterprise feature`)
		}
	case "peer":
		p.peer = value
	}
	return nil
}

// has and get read parameters that only one endpoint knows.
func (p *params) has(key string) bool {
	p.parse()
	return p.values.Has(key)
}

func (p *params) get(key string) string {
	p.parse()
	return p.values.Get(key)
}

func (p *params) parse() {
	if p.values == nil {
		p.values, _ = url.ParseQuery(p.raw)
	}
}

// query checks the parameters of every blocking endpoint.
func (p *params) query() error {
	if p.waitErr != nil {
		return p.waitErr
	}
	if p.indexErr != nil {
		return p.indexErr
	}
	if p.staleErr != nil {
		return p.staleErr
	}
	if p.stale && p.consistent {
		return badRequest("Cannot specify ?stale with ?consistent, conflicting semantics.")
	}
	if p.cached && p.consistent {
		return badRequest("Cannot specify ?cached with ?consistent, conflicting semantics.")
	}
	return nil
}

// metaFilter returns the node-meta pairs; a parameter without a colon means an empty
// value.
func (p *params) metaFilter() map[string]string {
	if len(p.nodeMeta) == 0 {
		return nil
	}
	m := make(map[string]string, len(p.nodeMeta))
	for _, pair := range p.nodeMeta {
		k, v, _ := strings.Cut(pair, ":")
		m[k] = v
	}
	return m
}

// number reads a parameter. The error of a bad one is the number parser's.
func (q *request) number(name string) (uint64, bool, error) {
	if !q.p.has(name) {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(q.p.get(name), 10, 64)
	if err != nil {
		return 0, true, serverError(err.Error())
	}
	return n, true, nil
}
