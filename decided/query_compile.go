package decided

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/filter"
)

// compiler holds all queries ready for use. They are made anew when somebody asks
// after a change, and of them only those that changed.
type compiler struct {
	mu   sync.Mutex
	last atomic.Pointer[querySet]
}

// querySet is all queries at one moment.
type querySet struct {
	index     uint64
	changed   <-chan struct{}
	list      []*skerry.PreparedQuery
	byID      map[string]*compiledQuery
	byName    map[string]*compiledQuery
	templates *iradix.Tree[*compiledQuery] // by prefix
	parents   map[string]bool              // the names that others of byName lie beneath, as parts of host names do
	damaged   map[string]error             // by ID: what cannot be read
}

// now returns the queries as the store has them.
func (q *Queries) now() *querySet {
	c := &q.compiled
	if s := c.last.Load(); s != nil && !s.outdated() {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.last.Load()
	if old == nil {
		old = &querySet{}
	} else if !old.outdated() {
		return old
	}
	// The channel comes first, so that the set is never older than what it tells of.
	_, changed := q.KV.Watch(skerry.Below(queryPrefix))
	s := q.newQuerySet(q.KV.Snapshot(), old)
	s.changed = changed
	c.last.Store(s)
	return s
}

// damage returns why the set may lack a query, or nil.
func (s *querySet) damage() error {
	for _, err := range s.damaged {
		return err
	}
	return nil
}

func (s *querySet) outdated() bool {
	select {
	case <-s.changed:
		return true
	default:
		return false
	}
}

func (q *Queries) newQuerySet(from skerry.Snapshot, old *querySet) *querySet {
	all := skerry.Below(queryPrefix)
	s := &querySet{index: from.Changed(all), byID: map[string]*compiledQuery{}, byName: map[string]*compiledQuery{}, parents: map[string]bool{}, list: []*skerry.PreparedQuery{}, damaged: map[string]error{}}
	templates := iradix.New[*compiledQuery]().Txn()
	for r := range from.All(all, "") {
		id := r.Key[len(queryPrefix):]
		c := old.byID[id]
		if c == nil || c.query.Modified != r.Modified || c.query.Created != r.Created {
			var err error
			if c, err = q.compileRecord(r); err != nil {
				// What another version wrote must not take the others with it.
				q.Log.Error("a prepared query cannot be used", "query", id, "error", err)
				if r.Damage != nil {
					s.damaged[id] = r.Damage
				}
				continue
			}
		}
		s.list = append(s.list, c.query)
		s.byID[id] = c
		name := strings.ToLower(c.query.Name)
		if c.query.Template.Type != "" {
			templates.Insert([]byte(name), c)
		} else if name != "" {
			s.byName[name] = c
			for _, rest, ok := strings.Cut(name, "."); ok; _, rest, ok = strings.Cut(rest, ".") {
				s.parents[rest] = true
			}
		}
	}
	s.templates = templates.Commit()
	slices.SortStableFunc(s.list, func(a, b *skerry.PreparedQuery) int { return cmp.Compare(a.Created, b.Created) })
	return s
}

func (q *Queries) compileRecord(r *skerry.Record) (*compiledQuery, error) {
	query, err := q.decode(r)
	if err != nil {
		return nil, err
	}
	return compile(&query.PreparedQuery)
}

// find returns the query that is asked for by its ID, its name, or any name that
// a template answers for. The error is of kind NotFound if there is none. A damaged
// query may have had any name, and been the better template.
func (s *querySet) find(nameOrID string) (*compiledQuery, error) {
	lower := strings.ToLower(nameOrID)
	if c := s.byID[lower]; c != nil {
		return c, nil
	}
	if c := s.byName[lower]; c != nil {
		return c, nil
	}
	if err := s.damage(); err != nil {
		return nil, err
	}
	if _, c, _ := s.templates.Root().LongestPrefix([]byte(lower)); c != nil {
		return c, nil
	}
	return nil, errNoQuery
}

// validate judges a definition on its own. Errors are worded as Consul's.
func validate(query *skerry.PreparedQuery) error {
	s := &query.Service
	switch {
	case query.Name == "" && query.Template.Type == "" && query.Session == "":
		return skerry.Errorf(skerry.Invalid, "Must be bound to a session")
	case query.Token == redacted:
		return skerry.Errorf(skerry.Invalid, "Bad Token '%s': give the token itself, or leave it out", redacted)
	case s.Service == "":
		return skerry.Errorf(skerry.Invalid, "Must provide a Service name to query")
	case s.Failover.NearestN < 0:
		return skerry.Errorf(skerry.Invalid, "Bad NearestN '%d', must be >= 0", s.Failover.NearestN)
	case len(s.Failover.Targets) > 0 && (s.Failover.NearestN > 0 || len(s.Failover.Datacenters) > 0):
		return skerry.Errorf(skerry.Invalid, "Targets cannot be populated with NearestN or Datacenters")
	}
	_, err := queryTTL(query.TTL)
	return err
}

func queryTTL(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(text)
	if err != nil {
		return 0, skerry.Errorf(skerry.Invalid, "Bad DNS TTL '%s': %w", text, err)
	}
	if ttl < 0 {
		return 0, fmt.Errorf("DNS TTL '%d', must be >=0", ttl)
	}
	return ttl, nil
}

// compiledQuery is a query ready for use.
type compiledQuery struct {
	query    *skerry.PreparedQuery
	ttl      time.Duration
	pipeline skerry.Pipeline // of a query that is no template
	regexp   *regexp.Regexp
	texts    map[string]text // a template's strings that have parts to fill in
}

func compile(query *skerry.PreparedQuery) (*compiledQuery, error) {
	c := &compiledQuery{query: query}
	var err error
	if c.ttl, err = queryTTL(query.TTL); err != nil {
		return nil, err
	}
	switch query.Template.Type {
	case "":
		c.pipeline = queryPipeline(&query.Service)
		return c, nil
	case skerry.TemplatePrefix:
	default:
		return nil, skerry.Errorf(skerry.Invalid, "Bad Template.Type '%s'", query.Template.Type)
	}
	if query.Template.Regexp != "" {
		if c.regexp, err = filter.Regexp(query.Template.Regexp); err != nil {
			return nil, skerry.Errorf(skerry.Invalid, "Bad Regexp: %w", err)
		}
	}
	c.texts = map[string]text{}
	eachText(&query.Service, func(s string) string {
		t, bad := parseText(s)
		switch {
		case bad != nil:
			err = bad
		case !t.plain():
			c.texts[s] = t
		}
		return s
	})
	return c, err
}

// resolve returns the query as it is meant for a name: a template's with all
// parts filled in. It shares with the definition what is no different.
func (c *compiledQuery) resolve(name string) (*skerry.PreparedQuery, skerry.Pipeline) {
	if c.query.Template.Type == "" {
		return c.query, c.pipeline
	}
	out := *c.query
	prefix := min(len(c.query.Name), len(name))
	asked := asked{full: name, prefix: c.query.Name, suffix: name[prefix:]}
	if c.regexp != nil {
		asked.groups = c.regexp.FindStringSubmatch(name)
	}
	out.Service = eachText(&c.query.Service, func(s string) string {
		if t, ok := c.texts[s]; ok {
			return t.fill(&asked)
		}
		return s
	})
	if c.query.Template.RemoveEmptyTags {
		kept := []string{}
		for _, tag := range out.Service.Tags {
			if tag != "" && tag != "!" {
				kept = append(kept, tag)
			}
		}
		out.Service.Tags = kept
	}
	return &out, queryPipeline(&out.Service)
}

// eachText returns s with every string in it replaced by what change makes of it.
func eachText(s *skerry.ServiceQuery, change func(string) string) skerry.ServiceQuery {
	list := func(in []string) []string {
		if in == nil {
			return nil
		}
		out := make([]string, len(in))
		for i, v := range in {
			out[i] = change(v)
		}
		return out
	}
	pairs := func(in map[string]string) map[string]string {
		if in == nil {
			return nil
		}
		out := make(map[string]string, len(in))
		for k, v := range in {
			out[k] = change(v)
		}
		return out
	}
	out := *s
	out.Service, out.Peer, out.Near = change(s.Service), change(s.Peer), change(s.Near)
	out.Failover.Datacenters = list(s.Failover.Datacenters)
	out.Failover.Targets = nil
	for _, t := range s.Failover.Targets {
		out.Failover.Targets = append(out.Failover.Targets, skerry.FailoverTarget{Peer: change(t.Peer), Datacenter: change(t.Datacenter)})
	}
	out.IgnoreCheckIDs, out.Tags = list(s.IgnoreCheckIDs), list(s.Tags)
	out.NodeMeta, out.ServiceMeta = pairs(s.NodeMeta), pairs(s.ServiceMeta)
	return out
}

// asked is the name that a template answers for.
type asked struct {
	full, prefix, suffix string
	groups               []string
}

// text is a string with parts to fill in.
type text []part

// part is fixed text, or what it stands for.
type part struct {
	fixed string
	of    func(*asked) string
}

func (t text) plain() bool { return len(t) == 0 || len(t) == 1 && t[0].of == nil }

func (t text) fill(a *asked) string {
	var b strings.Builder
	for _, p := range t {
		if p.of != nil {
			b.WriteString(p.of(a))
		} else {
			b.WriteString(p.fixed)
		}
	}
	return b.String()
}

// parseText splits s at its ${…}; "$${" is a "${" that stands for itself.
func parseText(s string) (text, error) {
	var t text
	fixed := ""
	for {
		at := strings.Index(s, "${")
		if at < 0 {
			return append(t, part{fixed: fixed + s}), nil
		}
		if at > 0 && s[at-1] == '$' {
			fixed += s[:at-1] + "${"
			s = s[at+2:]
			if len(t) == 0 {
				t = append(t, part{fixed: ""}) // no longer plain: the escape goes
			}
			continue
		}
		inner, rest, ok := strings.Cut(s[at+2:], "}")
		if !ok {
			return nil, skerry.Errorf(skerry.Invalid, "Bad format '%s': the '${' at %d is not closed by '}'", s, at)
		}
		of, err := parsePart(strings.TrimSpace(inner))
		if err != nil {
			return nil, err
		}
		t = append(t, part{fixed: fixed + s[:at]}, part{of: of})
		fixed, s = "", rest
	}
}

func parsePart(s string) (func(*asked) string, error) {
	switch s {
	case "name.full":
		return func(a *asked) string { return a.full }, nil
	case "name.prefix":
		return func(a *asked) string { return a.prefix }, nil
	case "name.suffix":
		return func(a *asked) string { return a.suffix }, nil
	case "agent.segment": // network segments are Enterprise's: there is one, without a name
		return func(*asked) string { return "" }, nil
	}
	number, isCall := strings.CutPrefix(s, "match(")
	number, closed := strings.CutSuffix(number, ")")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if !isCall || !closed || err != nil || n < 0 {
		return nil, skerry.Errorf(skerry.Invalid, "Bad format '${%s}': use name.full, name.prefix, name.suffix or match(N)", s)
	}
	return func(a *asked) string {
		if n < len(a.groups) {
			return a.groups[n]
		}
		return "" // as in Consul: also when the regexp does not match at all
	}, nil
}
