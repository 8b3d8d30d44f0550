package query

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// ready has all queries ready for use. After a change the next read compiles the queries
// that changed.
type ready struct {
	mu   sync.Mutex
	last atomic.Pointer[set]
}

// set has all queries at one moment.
type set struct {
	index     uint64
	changed   <-chan struct{}
	list      []*skerry.PreparedQuery
	byID      map[string]*compiled
	byName    map[string]*compiled
	templates *iradix.Tree[*compiled] // by prefix
	parents   map[string]bool         // the names that others of byName end with, after a dot
	damaged   map[string]error        // by ID: why a query cannot be read
}

// now returns the queries as the store has them now.
func (q *Store) now() *set {
	c := &q.ready
	if s := c.last.Load(); s != nil && !s.outdated() {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.last.Load()
	if old == nil {
		old = &set{}
	} else if !old.outdated() {
		return old
	}
	// The watch begins before the snapshot is taken, so that no change is missed.
	_, changed := q.kv.Watch(skerry.Below(record.Queries))
	s := q.newSet(q.kv.Snapshot(), old)
	s.changed = changed
	c.last.Store(s)
	return s
}

// damage returns an error when the set may lack a query.
func (s *set) damage() error {
	for _, err := range s.damaged {
		return err
	}
	return nil
}

func (s *set) outdated() bool {
	select {
	case <-s.changed:
		return true
	default:
		return false
	}
}

func (q *Store) newSet(from skerry.Snapshot, old *set) *set {
	all := skerry.Below(record.Queries)
	s := &set{index: from.Changed(all), byID: map[string]*compiled{}, byName: map[string]*compiled{}, parents: map[string]bool{}, list: []*skerry.PreparedQuery{}, damaged: map[string]error{}}
	templates := iradix.New[*compiled]().Txn()
	for r := range from.All(all, "") {
		id := r.Key[len(record.Queries):]
		c := old.byID[id]
		if c == nil || c.query.Modified != r.Modified || c.query.Created != r.Created {
			var err error
			if c, err = q.compileRecord(r); err != nil {
				// A query that another version wrote must not take the others with it.
				q.log.Error("a prepared query cannot be used", "query", id, "error", err)
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

func (q *Store) compileRecord(r *skerry.Record) (*compiled, error) {
	query, err := q.decode(r)
	if err != nil {
		return nil, err
	}
	return compile(&query.PreparedQuery)
}

// find returns the query that has the ID or name, or the template that answers for the
// name. The error is of kind NotFound when there is neither. A damaged query may have any
// name, and may be the template that answers, so find returns its damage then.
func (s *set) find(nameOrID string) (*compiled, error) {
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
	return nil, errNotFound
}
